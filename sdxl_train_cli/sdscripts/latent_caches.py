"""The caches that sd-scripts writes beside pictures (.npz), told from their front matter: no array is ever read.

An .npz is a zip of .npy files, each of which begins with its type and shape. Nothing is unpickled: an array of Python
objects shows in its type. Read from sd-scripts v0.10.1 and v0.11.1 (library/strategy_base.py, strategy_sdxl.py).
"""

from __future__ import annotations

import os
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from sdxl_train_cli import files

LATENTS = re.compile(r"(.*)_(\d+)x(\d+)_sdxl\.npz", re.DOTALL)
"""Of a picture's stem, width and height."""
LATENTS_KEY = re.compile(r"(latents|original_size|crop_ltrb|latents_flipped|alpha_mask)((?:_\d+x\d+)?)")
"""Of an array, and the resolution that v0.11.1 adds."""
TEXT_KEY = re.compile(r"hidden_state1|hidden_state2|pool2")
_ALWAYS = ("latents", "original_size", "crop_ltrb")
LATENTS_SUFFIX, TEXT_SUFFIX = "_sdxl.npz", "_te_outputs.npz"
SCALE = 8
"""Pixels of a side for each latent."""
CHANNELS = 4
_END = struct.Struct("<4s4H2LH")
"""What a zip ends with: mark, two disks, entries here and in all, size and place of their list, size of a comment."""
_MOST_ENTRIES, _LARGEST_LIST = 64, 16_384
"""sd-scripts writes five arrays for each resolution."""
_LOCAL = struct.Struct("<4s22xHH")
"""What each file in a zip begins with: mark, length of its name; the name follows."""
_LONGEST_START = 512
"""Bytes of an array's own front matter; numpy pads it to 128."""
_NPY = re.compile(rb"\x93NUMPY[\x01-\x03]")
_DTYPE, _SHAPE = re.compile(rb"'descr': *'([^']*)'"), re.compile(rb"'shape': *\(([\d, ]*)\)")


class CacheFault(str, Enum):
    """Why a cache is of no use, in words."""

    UNREADABLE = "can't be read"
    BROKEN = "is cut off or broken"
    PICKLED = "holds pickled objects, which sd-scripts does not load"


@dataclass(frozen=True)
class CacheFacts:
    """What is in a cache."""

    shapes: Mapping[str, tuple[int, ...]]
    """Of each array, by its key."""
    fault: CacheFault | None = None

    @property
    def is_latents(self) -> bool:
        """Whether these are the arrays that sd-scripts writes for a picture, and nothing else."""
        keys = [LATENTS_KEY.fullmatch(key) for key in self.shapes]
        sizes = {match[2] for match in keys if match}
        return all(keys) and any(all(f"{name}{size}" in self.shapes for name in _ALWAYS) for size in sizes)

    @property
    def is_text(self) -> bool:
        """Whether these are arrays that sd-scripts writes for a caption, and nothing else."""
        return bool(self.shapes) and all(TEXT_KEY.fullmatch(key) for key in self.shapes)


def is_padded(*sides: str) -> bool:
    """Whether a cache's name has its sides as sd-scripts writes them, with four digits at least."""
    return all(side == f"{int(side):04d}" for side in sides)


def is_cut_off(path: Path, key: re.Pattern[str]) -> bool:
    """Whether a file is empty, or the beginning of a zip whose first array has such a key."""
    try:
        with files.open_plain(path) as file:
            start = file.read(_LONGEST_START)
            if zipfile.is_zipfile(file):
                return False
    except OSError:
        return False
    if len(start) < _LOCAL.size:
        return not start or start.startswith(b"PK\x03\x04")
    mark, length, _ = _LOCAL.unpack_from(start)
    name = start[_LOCAL.size : _LOCAL.size + length]
    is_whole = len(name) == length
    known = key.fullmatch(name.decode("ascii", "replace").removesuffix(".npy")) is not None
    return mark == b"PK\x03\x04" and (known or (not is_whole and len(start) < _LONGEST_START))


def read(path: Path) -> CacheFacts:
    """Look at a cache; what is wrong with it is in its facts."""
    try:
        with files.open_plain(path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _END.size))
            _require_few(file.read())
            with zipfile.ZipFile(file) as archive:
                return _facts(archive)
    except OSError:
        return CacheFacts({}, CacheFault.UNREADABLE)
    except (zipfile.BadZipFile, zlib.error, struct.error, ValueError, EOFError, NotImplementedError, RuntimeError):
        return CacheFacts({}, CacheFault.BROKEN)


def _require_few(end: bytes) -> None:
    """ValueError where the zip is none, or lists more than any cache holds: all of the list would be read."""
    mark, _, _, _, entries, size, _, _ = _END.unpack(end)
    if mark != b"PK\x05\x06" or entries > _MOST_ENTRIES or size > _LARGEST_LIST:
        raise ValueError("no cache")


def _facts(archive: zipfile.ZipFile) -> CacheFacts:
    shapes = {}
    for entry in archive.infolist():
        with archive.open(entry) as array:
            start = array.read(_LONGEST_START)
        dtype, shape = _DTYPE.search(start), _SHAPE.search(start)
        if not _NPY.match(start) or shape is None:
            raise ValueError("no array")
        if dtype is None or b"O" in dtype[1]:
            return CacheFacts({}, CacheFault.PICKLED)
        sides = tuple(int(side) for side in shape[1].split(b",") if side.strip())
        shapes[entry.filename.removesuffix(".npy")] = sides
    return CacheFacts(shapes)
