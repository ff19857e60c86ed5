"""Look at one picture file: every byte of it is decoded, once, and no memory is spent on what is too large anyway.

What Pillow refuses or ignores, sd-scripts does too: it opens pictures with Pillow's own limits and takes them as they
are stored (library/train_util.py: load_image).
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
_STRIP = 1 << 22
"""Pixels of a picture that are worked on at a time where a copy of all of it would take too much memory."""
_BLOCK = 1 << 20
_MEMORY_BLOCK, _MEMORY_BLOCKS = 64 << 20, 2
"""Pillow's memory comes in blocks, and so many are kept for the next picture. A block of more than 32 MB goes back to
the system when it is given back; smaller ones, glibc keeps for the thread that had them."""

Known = Callable[[str, int], PictureFacts | None]
"""What a file of this SHA-256 and size showed when it was last looked at."""


@contextmanager
def reuse_decoder_memory() -> Iterator[None]:
    """Reuse the memory of earlier pictures within this block.

    Given back by many threads and taken anew each time, it would pile up (MALLOC_ARENA_MAX tells why).
    """
    from PIL import _imaging  # noqa: PLC0415 - only a look at pictures pays for it

    before = _imaging.get_block_size(), _imaging.get_blocks_max()
    _imaging.set_block_size(_MEMORY_BLOCK)
    _imaging.set_blocks_max(_MEMORY_BLOCKS)
    try:
        yield
    finally:
        _imaging.set_blocks_max(before[1])
        _imaging.set_block_size(before[0])


def read_facts(path: Path, memory: DecodeMemory | None = None, known: Known | None = None) -> PictureFacts:
    """Decode a picture; whatever is wrong with the file is in the facts. Pillow's warnings are the caller's to silence.

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
    """Open a plain file; OSError where it is none: a pipe of this name would keep us waiting for ever.

    TooLargeError where it is larger than any picture.
    """
    file = files.open_plain(path)
    size = os.fstat(file.fileno()).st_size
    if size > LARGEST_FILE:
        file.close()
        raise TooLargeError(f"{size / 1e9:.1f} GB, and no more than {LARGEST_FILE / 1e9:.1f} are read")
    return file


def _opened(facts: PictureFacts, file: BinaryIO, memory: DecodeMemory, known: Known | None) -> PictureFacts:
    """Read the header, which says how much memory the rest would take."""
    from PIL import Image  # noqa: PLC0415 - only a look at pictures pays for it

    try:
        image = Image.open(file, formats=formats())
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        words = f"more than {limit:,} pixels: Pillow, and so sd-scripts, takes it for a decompression bomb"
        return replace(facts, fault=FileFault.TOO_LARGE, error=words)
    except Exception as error:  # noqa: BLE001 - decoders of a dozen formats: anything can come out of a broken file
        file.seek(0)
        if file.read(_BLOCK).startswith(_BEGINNINGS) and facts.bytes > len(_BEGINNINGS[0]):
            return replace(facts, fault=FileFault.TRUNCATED, error=_words(error))
        return replace(facts, fault=FileFault.NO_PICTURE, error="it is not a picture that can be read")
    with image:
        facts = replace(
            facts, format=image.format or "", width=image.width, height=image.height, mode=image.mode,
            sha256=digest(file),
        )  # fmt: skip
        before = known(facts.sha256, facts.bytes) if known else None
        return replace(before, path=facts.path) if before else _decoded(facts, image, memory)


def digest(file: BinaryIO) -> str:
    """SHA-256 of the whole file, whose place stays what it was."""
    place = file.tell()
    file.seek(0)
    found = hashlib.sha256()
    while block := file.read(_BLOCK):
        found.update(block)
    file.seek(place)
    return found.hexdigest()


def _decoded(facts: PictureFacts, image: Image, memory: DecodeMemory) -> PictureFacts:
    """A JPEG is decoded at an eighth of its size where that is enough: each of its bytes is read all the same."""
    try:
        frames = int(getattr(image, "n_frames", 1))
        image.draft(None, (_SAMPLES, _SAMPLES))
        whole = facts.width, facts.height
        with memory.reserve(needed_bytes(image, whole)), closing(image):  # its memory is free before the room is
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
    """Boxes that cover a picture from top to bottom."""
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(image.height, top + rows)


def is_opaque(image: Image) -> bool:
    """Whether a picture with an alpha channel has no pixel that is transparent."""
    return all(image.crop(box).getchannel("A").getextrema()[0] == 255 for box in strips(image))  # noqa: PLR2004 - opaque


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
        return not is_opaque(image)
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
