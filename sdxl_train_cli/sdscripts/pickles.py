"""Inspect files in torch's format, which can contain code: list what loading would call, without loading.

Saved states and older weights are such files. Newer torch refuses suspicious content, older torch runs it.
"""

from __future__ import annotations

import io
import os
import pickletools
import re
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from sdxl_train_cli import files

SUFFIXES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
"""Suffixes of files in a folder that torch reads, as written by accelerate and diffusers."""
_HARMLESS = re.compile(
    r"collections (OrderedDict|defaultdict|Counter|deque)|_codecs encode"
    r"|(builtins|__builtin__) (set|frozenset|list|dict|tuple|int|float|complex|bool|bytes|bytearray|str|slice|object)"
    r"|numpy\.(_?core\.)?multiarray (_reconstruct|scalar)|numpy (ndarray|dtype)|numpy\.dtypes \w+"
    r"|torch\._utils _rebuild_\w+|torch\._tensor _rebuild_from_type_v2|torch\.serialization _get_layout"
    r"|torch\.storage (TypedStorage|UntypedStorage)|torch(\.cuda)? \w+Storage"
    r"|torch (Size|device|Tensor|Generator|[a-z]+\d+(_\w+)?|float|double|half|int|long|short|bool|strided)"
    r"|torch\.nn\.parameter (Parameter|Buffer)"
)
"""Building blocks of weights, optimizer and scheduler states, and random states."""
_ZIP, _END, _LOCATOR_64, _END_64 = b"PK\3\4", b"PK\5\6", b"PK\6\7", b"PK\6\6"
_TAIL_BYTES = 56 + 20 + 22
"""The zip64 and regular end records without a comment: torch writes both."""
_PICKLES = 5
"""Pickles of a file from before torch 1.6: magic number, protocol, system, object, keys; then the tensors' bytes.

See torch.serialization._legacy_save. A part of an archive has one.
"""
_UNFOLLOWED = "something that can't be traced"
_BROKEN = (
    ValueError, LookupError, EOFError, MemoryError, OverflowError, OSError, RuntimeError, struct.error,
    zipfile.BadZipFile, tarfile.TarError,
)  # fmt: skip
"""Errors of our parsers for content that they can't follow. torch's own parser may well follow it."""


def foreign_code(path: Path) -> str | None:
    """The first call in the file that no trainer's file needs. None if there is none.

    Content that can't be followed counts as such a call. OSError or ValueError if the file can't be opened.
    """
    with files.open_plain(path) as file:
        try:
            return next(_in_file(file), None)
        except _BROKEN:
            return _UNFOLLOWED


def texts(path: Path) -> frozenset[str]:
    """Every text in the file's pickle, the names of its tensors among them. Empty if it can't be followed."""
    try:
        with files.open_plain(path) as file:
            return frozenset(_texts(file))
    except _BROKEN:
        return frozenset()


def _texts(file: IO[bytes]) -> Iterator[str]:
    start = file.read(len(_ZIP))
    file.seek(0)
    if start != _ZIP:
        for _ in range(_PICKLES):
            yield from _texts_of(file)
        return
    with zipfile.ZipFile(file) as archive:
        for part in archive.infolist():
            if part.filename.endswith("/data.pkl") and part.file_size <= files.LARGEST_BYTES:
                yield from _texts_of(io.BytesIO(archive.read(part)))


def _texts_of(file: IO[bytes]) -> Iterator[str]:
    return (argument for operation, argument, _ in pickletools.genops(file) if "UNICODE" in operation.name
            and isinstance(argument, str))  # fmt: skip


def _in_file(file: IO[bytes]) -> Iterator[str]:
    start = file.read(len(_ZIP))
    file.seek(0)
    if start == _ZIP:
        yield from _in_archive(file)
    elif _is_tar(file):
        yield _UNFOLLOWED  # torch's format of 2016: tried first, whatever else the file could be read as
    else:
        file.seek(0)
        yield from _called(file)


def _is_tar(file: IO[bytes]) -> bool:
    try:
        tarfile.open(fileobj=file, mode="r:").close()
    except tarfile.TarError:
        return False
    return True


def _in_archive(file: IO[bytes]) -> Iterator[str]:
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        if not _is_read_alike(file, archive.start_dir) or any(part.orig_filename != part.filename for part in parts):
            yield _UNFOLLOWED
        names = [part.filename.lower() for part in parts]  # as torch looks for them
        if len(set(names)) != len(names):
            yield "two parts of one name"  # readers differ in which one they use
        for part, name in zip(parts, names, strict=True):
            folder, _, last = name.rpartition("/")
            if last == "constants.pkl" or "/code/" in f"/{folder}/":
                yield f"a program ({name})"
            if last.endswith(".pkl"):
                if part.file_size > files.LARGEST_BYTES:  # tensors are separate parts
                    yield f"a part of {part.file_size:,} bytes ({name})"
                if part.compress_type != zipfile.ZIP_STORED or part.compress_size != part.file_size:
                    yield f"a packed part ({name})"  # torch does not compress
                yield from _called(io.BytesIO(archive.read(part)))


def _is_read_alike(file: IO[bytes], start: int) -> bool:
    """Whether the archive's directory is where its end record says. Python's reader ignores that position.

    torch's reader follows it, and could find different parts there.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read()
    end, locator, end_64 = tail[-22:], tail[-42:-22], tail[-98:-42]
    told = int.from_bytes(end[16:20], "little")
    if locator.startswith(_LOCATOR_64):
        if not end_64.startswith(_END_64) or int.from_bytes(locator[8:16], "little") != size - len(tail):
            return False
        told = int.from_bytes(end_64[48:56], "little")
    return end.startswith(_END) and end.endswith(b"\0\0") and told == start


def _called(file: IO[bytes]) -> Iterator[str]:
    """Calls in the pickles that torch reads. Raises if they are invalid."""
    for _ in range(_PICKLES):
        start = file.tell()
        if not file.read(1):
            return
        file.seek(start)
        for operation, argument, _ in pickletools.genops(file):
            if operation.name in {"GLOBAL", "INST"}:
                if not _HARMLESS.fullmatch(str(argument)):
                    yield ".".join(str(argument).split())
            elif operation.name in {"STACK_GLOBAL", "EXT1", "EXT2", "EXT4"}:
                yield "code whose name is put together"  # torch never writes these
