"""Pictures become small ones that a page can hold."""

from __future__ import annotations

import base64
import io
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from PIL import Image

from sdxl_train_cli.dataset.decode_memory import DecodeMemory
from sdxl_train_cli.ui import thumbnails


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "I;16"])
def test_a_picture_of_any_kind_becomes_a_small_one_of_its_shape(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (1024, 512)).save(tmp_path / "a.png")

    kind, _, content = thumbnails.data_uri(tmp_path / "a.png", 320).partition(",")

    assert kind == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as small:
        assert small.size == (320, 160)


def test_a_small_picture_is_not_blown_up(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    content = thumbnails.data_uri(tmp_path / "a.png", 320).partition(",")[2]

    with Image.open(io.BytesIO(base64.b64decode(content))) as small:
        assert small.size == (64, 64)


def test_a_large_transparent_picture_shows_the_colour_below(tmp_path: Path) -> None:
    Image.new("RGBA", (3000, 1500), (200, 40, 10, 0)).save(tmp_path / "a.png")
    content = thumbnails.data_uri(tmp_path / "a.png", 100).partition(",")[2]

    with Image.open(io.BytesIO(base64.b64decode(content))) as small:
        assert small.size == (100, 50)
        found = small.getpixel((50, 25))
    assert isinstance(found, tuple)
    assert all(abs(one - other) < 12 for one, other in zip(found, (200, 40, 10), strict=True))


def test_pictures_are_decoded_only_where_there_is_room(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (300, 200)).save(tmp_path / name)
    reserve: list[int] = []

    class Counting(DecodeMemory):
        def reserve(self, size: int) -> AbstractContextManager[None]:
            reserve.append(size)
            return super().reserve(size)

    made = list(thumbnails.data_uris([tmp_path / "a.png", tmp_path / "b.png"], 64, 80, 10_000, Counting(240_000)))

    assert all(made)
    assert reserve == [240_000, 240_000]


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n\0\0"])
def test_a_broken_picture_is_told_by_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)

    with pytest.raises(ValueError, match=r"a\.png can't be read"):
        thumbnails.data_uri(tmp_path / "a.png", 320)
