"""Pictures and captions with one thing wrong each, made small and real."""

from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path

from PIL import Image, ImageDraw

from sdxl_train_cli.dataset import checking
from sdxl_train_cli.dataset.checking import CheckedDataset, DatasetSource
from sdxl_train_cli.recipe import Recipe

SIDE = 1024


def photo(seed: int, size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    """A picture that no other seed gives, to the eye too."""
    drawn = random.Random(seed)  # noqa: S311 - the same pictures each time
    image = Image.frombytes("RGB", (6, 6), drawn.randbytes(108)).resize(size, Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        left, top = drawn.randrange(size[0]), drawn.randrange(size[1])
        draw.ellipse((left, top, left + size[0] // 4, top + size[1] // 4), fill=tuple(drawn.randbytes(3)))
    return image


def saved(path: Path, image: Image.Image, caption: str | None = "a photo of a cat", **options: object) -> Path:
    """Write a picture, in the format of its suffix unless `format` says another, with its caption."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **({"compress_level": 1} | options if path.suffix.lower() == ".png" else options))
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


def picture(path: Path, caption: str | None = None, suffix: str = ".txt") -> Path:
    """A small picture of no content, whatever its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48), (200, 90, 120)).save(path, format="PNG")
    if caption is not None:
        path.with_suffix(suffix).write_text(caption, encoding="utf-8")
    return path


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, data: bytes = b"\0") -> bytes:
    """A PNG whose header says what it likes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(content)


def turned(image: Image.Image, orientation: int) -> bytes:
    """A JPEG with an EXIF entry that turns it."""
    exif = Image.Exif()
    exif[274] = orientation
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif)
    return file.getvalue()


def check(data: Path, recipe: Recipe | None = None, **source: object) -> CheckedDataset:
    return checking.check(DatasetSource(data, **source), recipe)


def kinds(checked: CheckedDataset) -> dict[str, tuple[str, list[str]]]:
    """What was found: by kind its weight and the names of its files; a kind comes once."""
    found = {each.kind: (each.severity.value, [file.name for file in each.files]) for each in checked.findings}
    assert len(found) == len(checked.findings), checked.findings
    return found
