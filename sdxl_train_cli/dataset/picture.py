"""Look at one picture file: every byte of it is decoded, once, and no memory is spent on what is too large anyway.

What Pillow refuses or ignores, sd-scripts does too: it opens pictures with Pillow's own limits and takes them as they
are stored (library/train_util.py: load_image).
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sdxl_train_cli.dataset.facts import Fault, PictureFacts
from sdxl_train_cli.dataset.room import Room

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = {
    "JPEG": (".jpg", ".jpeg"),
    "MPO": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "DIB": (".bmp",),
}
"""What files of a format are called; MPO is a JPEG with a second picture behind it, as phones write it."""
_FORMATS = (*SUFFIXES, "GIF", "TIFF", "AVIF", "ICO", "PPM", "TGA", "JPEG2000")
"""What is looked for, by content. Not all that Pillow knows: for EPS it would start a program of its own."""
_BEGINNINGS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"BM")
_TRANSPARENT_PALETTES = {"P", "L", "1"}
_CELLS = 9
"""Squares across that a difference hash compares: 8 differences a row."""
_SAMPLES = 16 * _CELLS
"""Pixels across that are enough to tell a square's brightness."""
_FLAT = 6
"""Shades of grey, of 256: a picture with less contrast than this shows nothing to compare."""
_BLOCK = 1 << 20
_BLOCKS = 8
"""Of Pillow's, of 16 MB each."""

Known = Callable[[str, int], PictureFacts | None]
"""What a file of this SHA-256 and size showed when it was last looked at."""


@contextmanager
def memory_in_turns() -> Iterator[None]:
    """Let pictures of the block have the memory of those before them.

    Given back by many threads and taken anew each time, it would pile up (MALLOC_ARENA_MAX tells why).
    """
    from PIL import _imaging  # noqa: PLC0415 - only a look at pictures pays for it

    before = _imaging.get_blocks_max()
    _imaging.set_blocks_max(_BLOCKS)
    try:
        yield
    finally:
        _imaging.set_blocks_max(before)


def look(path: Path, room: Room | None = None, known: Known | None = None) -> PictureFacts:
    """Decode a picture; whatever is wrong with the file is in the facts. Pillow's warnings are the caller's to silence.

    `room` limits what is decoded at a time.
    """
    facts = PictureFacts(path, 0, "", "", 0, 0, "", 1, 1, has_alpha=False, difference_hash=None, error=None)
    try:
        status = path.stat()
        _require_regular(path, status.st_mode)
        facts = replace(facts, bytes=status.st_size)
        with path.open("rb") as file:
            return _opened(facts, file, room or Room(), known)
    except OSError as error:
        return replace(facts, fault=Fault.UNREADABLE, error=error.strerror or str(error))


def _require_regular(path: Path, mode: int) -> None:
    """A pipe of this name would keep us waiting for ever."""
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device", str(path))


def _opened(facts: PictureFacts, file: BinaryIO, room: Room, known: Known | None) -> PictureFacts:
    """Read the header, which says how much memory the rest would take."""
    from PIL import Image  # noqa: PLC0415 - only a look at pictures pays for it

    try:
        image = Image.open(file, formats=formats())
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        words = f"more than {limit:,} pixels: Pillow, and so sd-scripts, takes it for a decompression bomb"
        return replace(facts, fault=Fault.TOO_LARGE, error=words)
    except Exception as error:  # noqa: BLE001 - decoders of a dozen formats: anything can come out of a broken file
        file.seek(0)
        if file.read(_BLOCK).startswith(_BEGINNINGS) and facts.bytes > len(_BEGINNINGS[0]):
            return replace(facts, fault=Fault.TRUNCATED, error=_words(error))
        return replace(facts, fault=Fault.NO_PICTURE, error="it is not a picture that can be read")
    with image:
        facts = replace(
            facts, format=image.format or "", width=image.width, height=image.height, mode=image.mode,
            sha256=digest(file),
        )  # fmt: skip
        before = known(facts.sha256, facts.bytes) if known else None
        return replace(before, path=facts.path) if before else _decoded(facts, image, room)


def digest(file: BinaryIO) -> str:
    """SHA-256 of the whole file, whose place stays what it was."""
    place = file.tell()
    file.seek(0)
    found = hashlib.sha256()
    while block := file.read(_BLOCK):
        found.update(block)
    file.seek(place)
    return found.hexdigest()


def _decoded(facts: PictureFacts, image: Image, room: Room) -> PictureFacts:
    """A JPEG is decoded at an eighth of its size where that is enough: each of its bytes is read all the same."""
    try:
        frames = int(getattr(image, "n_frames", 1))
        image.draft(None, (_SAMPLES, _SAMPLES))
        with room.taken(_pixels(image, facts)):
            image.load()
            return replace(
                facts,
                frames=frames,
                orientation=orientation(image),
                has_alpha=_has_alpha(image),
                difference_hash=_difference_hash(image),
            )
    except MemoryError:
        return replace(facts, fault=Fault.TOO_LARGE, error="there is not enough memory to decode it")
    except Exception as error:  # noqa: BLE001 - as above
        return replace(facts, fault=Fault.TRUNCATED, error=_words(error))


def _pixels(image: Image, facts: PictureFacts) -> int:
    """That decoding takes memory for: a progressive JPEG is kept whole, whatever size it is decoded at.

    A WebP is decoded into two canvases, copied, and copied again.
    """
    whole = facts.width * facts.height
    if facts.format == "WEBP":
        return 4 * whole
    return image.width * image.height + (whole * 3 // 2 if image.info.get("progressive") else 0)


def orientation(image: Image) -> int:
    """EXIF's tag 274; 1 where there is none or it makes no sense."""
    try:
        found = image.getexif().get(274, 1)
    except Exception:  # noqa: BLE001 - broken EXIF hinders nobody from decoding the picture
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1  # noqa: PLR2004 - all that there are


def _has_alpha(image: Image) -> bool:
    """Whether some pixel is not opaque."""
    if image.mode in {"RGBA", "LA", "PA"}:
        least = image.getextrema()[-1]
        return isinstance(least, tuple) and least[0] < 255  # noqa: PLR2004 - opaque
    clear = image.info.get("transparency")
    if clear is None or image.mode not in _TRANSPARENT_PALETTES:
        return False
    used = image.histogram()
    if isinstance(clear, int):
        return clear < len(used) and used[clear] > 0
    return isinstance(clear, bytes) and any(
        count and alpha < 255  # noqa: PLR2004 - opaque
        for count, alpha in zip(used, clear)  # noqa: B905 - shades without a figure are opaque
    )


def _difference_hash(image: Image) -> int | None:
    import dhash  # noqa: PLC0415 - only a look at pictures pays for it
    from PIL.Image import Resampling  # noqa: PLC0415 - the same

    sampled = image.resize((_SAMPLES, _SAMPLES), Resampling.NEAREST).convert("RGB").convert("L")
    greys = list(sampled.resize((_CELLS, _CELLS), Resampling.BOX).tobytes())
    if max(greys) - min(greys) < _FLAT:
        return None
    return int(dhash.dhash_int(greys, size=_CELLS - 1))


def _words(error: Exception) -> str:
    """What a decoder says; of one that names our own file object, only that it could make nothing of it."""
    words = str(error).strip()
    return "nothing after its first bytes makes sense" if "<_io." in words else words or type(error).__name__


@cache
def formats() -> list[str]:
    """Pillow's names of the formats that may be opened."""
    from PIL import Image  # noqa: PLC0415 - only a look at pictures pays for it

    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]
