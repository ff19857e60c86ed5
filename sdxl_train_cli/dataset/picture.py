"""Inspect one picture file: decode every byte once, without spending memory on pictures that are too large anyway.

What Pillow refuses or ignores, sd-scripts does too: it opens pictures with Pillow's own limits and uses them as stored
(library/train_util.py: load_image).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sdxl_train_cli import files
from sdxl_train_cli.dataset.decode_memory import LARGEST_FILE, DecodeMemory, TooLargeError, needed_bytes
from sdxl_train_cli.dataset.file_facts import FileFault, PictureFacts

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
"""File suffixes by format. MPO is a JPEG with a second picture appended, as phones write it."""
_FORMATS = (*SUFFIXES, "GIF", "TIFF", "AVIF", "ICO", "PPM", "TGA", "JPEG2000")
"""Formats to recognise by content. A subset of Pillow's: for EPS it would start an external program."""
_BEGINNINGS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"BM")
_TRANSPARENT_PALETTES = {"P", "L", "1"}
_CELLS = 9
"""Squares across for a difference hash: 8 differences per row."""
_SAMPLES = 16 * _CELLS
"""Pixels across that suffice to determine a square's brightness."""
_FLAT = 6
"""Grey levels out of 256. A picture with less contrast is too plain to compare."""
_STRIP = 1 << 22
"""Pixels processed at a time if a full copy of the picture would take too much memory."""
_BLOCK = 1 << 20
_MEMORY_BLOCK, _MEMORY_BLOCKS = 64 << 20, 2
"""Pillow allocates blocks and caches this many for the next picture. A block of more than 32 MB returns to the system
when freed; glibc keeps smaller ones for the thread that used them.
"""

Known = Callable[[str, int], PictureFacts | None]
"""Returns what a file of this SHA-256 and size contained when last inspected."""


@contextmanager
def limit_memory() -> Iterator[None]:
    """Reuse decoder buffers within this block.

    Otherwise memory freed by many threads and allocated again piles up (see MALLOC_ARENA_MAX).
    """
    from PIL import _imaging  # noqa: PLC0415 - only commands that read pictures pay for it

    before = _imaging.get_block_size(), _imaging.get_blocks_max()
    _imaging.set_block_size(_MEMORY_BLOCK)
    _imaging.set_blocks_max(_MEMORY_BLOCKS)
    try:
        yield
    finally:
        _imaging.set_blocks_max(before[1])
        _imaging.set_block_size(before[0])


def read_facts(path: Path, memory: DecodeMemory | None = None, known: Known | None = None) -> PictureFacts:
    """Decode a picture. Errors are reported in the facts. The caller must silence Pillow's warnings.

    `memory` limits what is decoded at a time.
    """
    facts = PictureFacts(path, 0, "", "", 0, 0, "", 1, 1, has_alpha=False, difference_hash=None, error=None)
    try:
        with open_file(path) as file:
            facts = replace(facts, bytes=os.fstat(file.fileno()).st_size)
            return _opened(facts, file, memory or DecodeMemory(), known)
    except TooLargeError as error:
        return replace(facts, fault=FileFault.TOO_LARGE, error=str(error))
    except OSError as error:
        return replace(facts, fault=FileFault.UNREADABLE, error=error.strerror or str(error))


def open_file(path: Path) -> BinaryIO:
    """Open a regular file. Raises OSError for anything else, as opening a pipe would block.

    Raises TooLargeError if it is larger than any picture.
    """
    file = files.open_plain(path)
    size = os.fstat(file.fileno()).st_size
    if size > LARGEST_FILE:
        file.close()
        raise TooLargeError(f"{size / 1e9:.1f} GB; the limit is {LARGEST_FILE / 1e9:.1f} GB")
    return file


def _opened(facts: PictureFacts, file: BinaryIO, memory: DecodeMemory, known: Known | None) -> PictureFacts:
    """Read the header, which tells how much memory decoding takes."""
    from PIL import Image  # noqa: PLC0415 - only commands that read pictures pay for it

    try:
        image = Image.open(file, formats=formats())
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        words = f"more than {limit:,} pixels: Pillow, and so sd-scripts, treats it as a decompression bomb"
        return replace(facts, fault=FileFault.TOO_LARGE, error=words)
    except Exception as error:  # noqa: BLE001 - a dozen decoders raise anything on a broken file
        file.seek(0)
        if file.read(_BLOCK).startswith(_BEGINNINGS) and facts.bytes > len(_BEGINNINGS[0]):
            return replace(facts, fault=FileFault.TRUNCATED, error=_words(error))
        return replace(facts, fault=FileFault.NO_PICTURE, error="it is not a readable picture")
    with image:
        facts = replace(
            facts, format=image.format or "", width=image.width, height=image.height, mode=image.mode,
            sha256=digest(file),
        )  # fmt: skip
        before = known(facts.sha256, facts.bytes) if known else None
        return replace(before, path=facts.path) if before else _decoded(facts, image, memory)


def digest(file: BinaryIO) -> str:
    """SHA-256 of the whole file. The file position is restored."""
    place = file.tell()
    file.seek(0)
    found = hashlib.sha256()
    while block := file.read(_BLOCK):
        found.update(block)
    file.seek(place)
    return found.hexdigest()


def _decoded(facts: PictureFacts, image: Image, memory: DecodeMemory) -> PictureFacts:
    """Decode the picture. A JPEG is decoded at an eighth of its size if that suffices; every byte is still read."""
    try:
        frames = int(getattr(image, "n_frames", 1))
        image.draft(None, (_SAMPLES, _SAMPLES))
        whole = facts.width, facts.height
        with memory.reserve(needed_bytes(image, whole)), closing(image):  # the picture is freed before its reservation
            image.load()
            return replace(
                facts,
                frames=frames,
                orientation=orientation(image),
                has_alpha=_has_alpha(image),
                difference_hash=_difference_hash(image),
            )
    except TooLargeError as error:
        return replace(facts, fault=FileFault.TOO_LARGE, error=str(error))
    except MemoryError:
        return replace(facts, fault=FileFault.TOO_LARGE, error="there is not enough memory to decode it")
    except Exception as error:  # noqa: BLE001 - as above
        return replace(facts, fault=FileFault.TRUNCATED, error=_words(error))


def strips(image: Image) -> Iterator[tuple[int, int, int, int]]:
    """Boxes that cover the picture from top to bottom."""
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(image.height, top + rows)


def is_opaque(image: Image) -> bool:
    """Whether a picture with an alpha channel has no transparent pixel."""
    return all(image.crop(box).getchannel("A").getextrema()[0] == 255 for box in strips(image))  # noqa: PLR2004 - opaque


def orientation(image: Image) -> int:
    """EXIF tag 274. 1 if absent or invalid."""
    try:
        found = image.getexif().get(274, 1)
    except Exception:  # noqa: BLE001 - the picture decodes even with broken EXIF
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1  # noqa: PLR2004 - the complete set


def _has_alpha(image: Image) -> bool:
    """Whether any pixel is not opaque."""
    if image.mode in {"RGBA", "LA", "PA"}:
        return not is_opaque(image)
    clear = image.info.get("transparency")
    if clear is None or image.mode not in _TRANSPARENT_PALETTES:
        return False
    used = image.histogram()
    if isinstance(clear, int):
        return clear < len(used) and used[clear] > 0
    return isinstance(clear, bytes) and any(
        count and alpha < 255  # noqa: PLR2004 - opaque
        for count, alpha in zip(used, clear)  # noqa: B905 - missing alpha values are opaque
    )


def _difference_hash(image: Image) -> int | None:
    from PIL.Image import Resampling  # noqa: PLC0415 - only commands that read pictures pay for it

    sampled = image.resize((_SAMPLES, _SAMPLES), Resampling.NEAREST).convert("RGB").convert("L")
    greys = sampled.resize((_CELLS, _CELLS), Resampling.BOX).tobytes()
    return None if max(greys) - min(greys) < _FLAT else _hash(greys)


def _hash(greys: bytes) -> int:
    """Whether each square is darker than the one to its right, then than the one below: a bit each."""
    cells = [row * _CELLS + column for row in range(_CELLS - 1) for column in range(_CELLS - 1)]
    found = 0
    for step in (1, _CELLS):
        for cell in cells:
            found = found << 1 | (greys[cell] < greys[cell + step])
    return found


def _words(error: Exception) -> str:
    """The decoder's message. If it names our own file object, a generic one instead."""
    words = str(error).strip()
    return "nothing after its first bytes makes sense" if "<_io." in words else words or type(error).__name__


@cache
def formats() -> list[str]:
    """Pillow's names of the formats that may be opened."""
    from PIL import Image  # noqa: PLC0415 - only commands that read pictures pay for it

    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]
