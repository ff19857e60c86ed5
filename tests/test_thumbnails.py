"""Pictures become small ones that a page can hold."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from sdxl_train_cli.webpage import thumbnails


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


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n\0\0"])
def test_a_broken_picture_is_told_by_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)

    with pytest.raises(ValueError, match=r"a\.png can't be read"):
        thumbnails.data_uri(tmp_path / "a.png", 320)
