"""Whatever is in a file: a look at it ends, and with facts. 2,000 mutated files, the same ones each time."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from odd_files import photo, turned
from PIL import Image

from sdxl_train_cli.dataset import picture
from sdxl_train_cli.errors import DatasetError

PICTURES, CAPTIONS = 1600, 400
SIZE = (72, 56)
SECONDS = 120.0
"""Far beyond what the whole takes, which is a few: it is a hang."""
EXPECTED = {"no-picture", "truncated", "caption-not-utf8"}
"""Some of the kinds that there must be."""
CAPTION = "ohwx woman, a café «красный» 猫 🐈, red dress\nsecond line\r\n".encode()

Mutate = Callable[[bytes, random.Random], bytes]


def flipped(content: bytes, drawn: random.Random) -> bytes:
    """A few bits, anywhere."""
    changed = bytearray(content)
    for _ in range(drawn.randrange(1, 20)):
        changed[drawn.randrange(len(changed))] ^= 1 << drawn.randrange(8)
    return bytes(changed)


def in_the_header(content: bytes, drawn: random.Random) -> bytes:
    """Sizes, lengths and counts are at the beginning."""
    changed = bytearray(content)
    for _ in range(drawn.randrange(1, 6)):
        changed[drawn.randrange(min(120, len(changed)))] = drawn.choice((0, 1, 127, 128, 255, drawn.randrange(256)))
    return bytes(changed)


def cut(content: bytes, drawn: random.Random) -> bytes:
    return content[: drawn.randrange(len(content))]


def without_a_piece(content: bytes, drawn: random.Random) -> bytes:
    start = drawn.randrange(len(content))
    return content[:start] + content[start + drawn.randrange(1, 400) :]


def with_a_piece_twice(content: bytes, drawn: random.Random) -> bytes:
    start = drawn.randrange(len(content))
    return content[:start] + content[start : start + drawn.randrange(1, 400)] * 2 + content[start:]


def with_noise(content: bytes, drawn: random.Random) -> bytes:
    start = drawn.randrange(len(content))
    return content[:start] + drawn.randbytes(drawn.randrange(1, 200)) + content[start + drawn.randrange(200) :]


MUTATIONS: tuple[Mutate, ...] = (flipped, in_the_header, cut, without_a_piece, with_a_piece_twice, with_noise)


def originals() -> list[bytes]:
    """One file of each form that a picture of a dataset may have, whatever its suffix says."""
    image = photo(1, SIZE)
    kinds: list[tuple[Image.Image, str, dict[str, object]]] = [
        (image, "JPEG", {}),
        (image, "JPEG", {"progressive": True}),
        (image.convert("CMYK"), "JPEG", {}),
        (image, "MPO", {"save_all": True, "append_images": [photo(2, SIZE)]}),
        (image, "PNG", {}),
        (image.convert("RGBA"), "PNG", {"save_all": True, "append_images": [photo(2, SIZE).convert("RGBA")]}),
        (image.quantize(16), "PNG", {"transparency": bytes(range(16))}),
        (image.convert("L").convert("I").convert("I;16"), "PNG", {}),
        (image, "WEBP", {}),
        (image, "WEBP", {"save_all": True, "append_images": [photo(2, SIZE)], "lossless": True}),
        (image, "BMP", {}),
        (image, "GIF", {"save_all": True, "append_images": [photo(2, SIZE)]}),
        (image, "TIFF", {"save_all": True, "append_images": [photo(2, SIZE)]}),
        (image, "TIFF", {"compression": "tiff_lzw"}),
        (image, "ICO", {}),
        (image, "PPM", {}),
        (image, "TGA", {}),
        (image, "JPEG2000", {}),
    ]
    files = [io.BytesIO() for _ in kinds]
    for (one, form, options), file in zip(kinds, files, strict=True):
        one.save(file, form, **options)
    return [turned(image, 6), *(file.getvalue() for file in files)]


def mutated(contents: list[bytes], number: int) -> bytes:
    drawn = random.Random(number)  # noqa: S311 - the same files each time
    return drawn.choice(MUTATIONS)(drawn.choice(contents), drawn)


def fill(folder: Path) -> None:
    pictures, suffixes = originals(), (".jpg", ".png", ".webp", ".bmp")
    for number in range(PICTURES):
        (folder / f"{number:04}{suffixes[number % 4]}").write_bytes(mutated(pictures, number))
    for number in range(CAPTIONS):
        texts = [CAPTION, CAPTION.decode().encode("utf-16"), b"\xef\xbb\xbf" + CAPTION, b"cat, " * 3000]
        (folder / f"{number:04}.txt").write_bytes(mutated(texts, PICTURES + number))


def test_of_2000_mutated_files_none_makes_a_traceback_or_a_hang(tmp_path: Path) -> None:
    fill(tmp_path)
    command = [sys.executable, "-m", "sdxl_train_cli.cli", "dataset", "check", str(tmp_path), "-t", "ohwx", "--json"]

    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, timeout=SECONDS)

    assert done.returncode == DatasetError.exit_code
    assert "Traceback" not in done.stderr  # the decoder of TIFF, which is no Python, may write what it likes there
    found = json.loads(done.stdout)
    assert (found["pictures"], found["captions"]) == (PICTURES, CAPTIONS)
    assert {each["kind"] for each in found["findings"]} >= EXPECTED


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_is_told_just_where_decoding_it_in_full_would_fail(tmp_path: Path, progressive: bool) -> None:
    file, path, told = io.BytesIO(), tmp_path / "1.jpg", set()
    photo(3, (600, 400)).save(file, "JPEG", progressive=progressive)
    for number in range(300):
        path.write_bytes(mutated([file.getvalue()], number))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            told.add((picture.read_facts(path).error is None, is_decoded_in_full(path)))

    assert told == {(True, True), (False, False)}


def is_decoded_in_full(path: Path) -> bool:
    """As sd-scripts would."""
    try:
        with Image.open(path) as image:
            image.convert("RGB")
    except Exception:  # noqa: BLE001 - a broken file
        return False
    return True
