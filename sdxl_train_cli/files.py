"""All file access: written whole or not at all, synced to disk, read within limits, never from a pipe."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
import stat
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from sdxl_train_cli import formatting

LARGEST_BYTES = 64 * 1024 * 1024
"""Limit for files that are read whole: records, configs, captions."""
MOST_DIGITS = 40
"""Limit for integers in JSON. Longer ones are no value of a run, and float() raises above 308 digits."""
HALF_WRITTEN = r"\.[0-9a-f]{16}\.new"
"""Regular expression for the names of temporary files that `write` leaves behind after a power cut."""
_TRIES, _TRY_SECONDS = 10, 0.05
"""Windows refuses a rename while a virus scanner or a reader has the file open."""


def write(path: Path, content: str | bytes, *, over: bool = True) -> None:
    """Write to a temporary file and rename it, both synced.

    Even after a power cut, readers see the old file or the new one. Text is encoded as UTF-8 with its line ends
    unchanged. Raises OSError; the old file is then untouched and no temporary file remains. Raises FileExistsError if
    the file exists and `over` is false. A device or a pipe is never replaced.
    """
    if not over and os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, "already exists", str(path))
    with _beside(path) as beside, beside.open("xb") as file:
        file.write(content.encode() if isinstance(content, str) else content)


def copy(source: Path, path: Path) -> None:
    """Copy a file of any size as `write` does. A link at the target is replaced, its destination left alone."""
    with _beside(path) as beside:
        shutil.copyfile(source, beside)


@contextlib.contextmanager
def new_folder(path: Path, *, over: bool = False) -> Iterator[Path]:
    """Yield an empty folder next to `path` that takes its place once it is filled. On failure it is removed.

    With `over`, a folder that stands there is replaced whole. Raises OSError, and FileExistsError without `over`.
    """
    if not over and os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, "already exists", str(path))
    beside = path.with_name(f".{secrets.token_hex(8)}.new")
    former = beside.with_suffix(".old")
    try:
        beside.mkdir(parents=True)
        yield beside
        for folder, _, _ in os.walk(beside):
            sync_folder(Path(folder))
        if os.path.lexists(path):
            _replace(path, former)
        _replace(beside, path)
    except BaseException:
        if os.path.lexists(former) and not os.path.lexists(path):
            former.replace(path)
        shutil.rmtree(beside, ignore_errors=True)
        raise
    shutil.rmtree(former, ignore_errors=True)
    sync_folder(path.parent)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Yield a temporary file next to `path` that replaces it once synced. On failure it is removed."""
    if exists(path) and not is_file(path):
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    beside = path.with_name(f".{secrets.token_hex(8)}.new")
    try:
        yield beside
        _sync(beside)
        _replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def made_whole(path: Path) -> Iterator[Path]:
    """Yield a place of the same name in a temporary folder beside `path`. What is made there replaces it at the end.

    For programs that choose a file's form by its name. If the block fails, or makes no file, `path` is untouched and
    nothing remains.
    """
    folder = path.with_name(f".{secrets.token_hex(8)}.new")
    with made_parent(path):
        try:
            folder.mkdir()
            made = folder / path.name
            yield made
            _sync(made)
            _replace(made, path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    sync_folder(path.parent)


@contextlib.contextmanager
def made_parent(path: Path) -> Iterator[None]:
    """Make the folder that a new file is to stand in, where a person has named one that is missing.

    If the block fails, the folders that were made for it are removed. Raises OSError; NotADirectoryError where a file
    stands in its place.
    """
    missing = [folder for folder in path.parents if not os.path.lexists(folder)]
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path.parent)) from error
        yield
    except BaseException:
        for folder in missing:  # the innermost first; one that others have filled meanwhile stays
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _replace(beside: Path, path: Path) -> None:
    for _ in range(_TRIES if sys.platform == "win32" else 0):
        try:
            beside.replace(path)
        except PermissionError:
            time.sleep(_TRY_SECONDS)
        else:
            return
    beside.replace(path)


def sync_folder(folder: Path) -> None:
    """Sync a folder's entries to disk, where the system can. Otherwise a power cut may undo a rename."""
    with contextlib.suppress(OSError):  # Windows can't open folders, and some network drives can't sync them
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_bytes(path: Path, largest_bytes: int = LARGEST_BYTES) -> bytes:
    """Read a whole file.

    Raises OSError if it is not a regular file (a pipe would never end) or can't be read, and ValueError if it is larger
    than `largest_bytes` or its name contains a NUL byte.
    """
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(min(size, largest_bytes) + 1)  # allocating 64 MiB would take longer than reading most files
        if len(content) > size:  # it has grown, or is a system file, which reports no size
            content += file.read(largest_bytes + 1 - len(content))
    if len(content) > largest_bytes:
        raise ValueError(f"{path.name} is larger than {largest_bytes:,} bytes")
    return content


def open_plain(path: Path) -> BinaryIO:
    """Open a regular file for reading. OSError for anything else: opening a pipe would block."""
    handle = os.open(path, _READ)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    try:
        if not os.fstat(handle).st_size and os.read(handle, 1):  # a system file, some of which block
            os.lseek(handle, 0, os.SEEK_SET)
    except OSError as error:
        os.close(handle)
        raise OSError(errno.EINVAL, "not a plain file", str(path)) from error
    return open(handle, "rb")  # noqa: PTH123 - Path.open takes no handle; the caller closes it


def open_new(path: Path) -> BinaryIO:
    """Open one of our files for writing from scratch. A link or pipe at the path is replaced, not followed."""
    if os.path.islink(path) or (exists(path) and not is_file(path)):  # noqa: PTH114 - a Path raises for a long name
        path.unlink()
    return path.open("wb")


_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
"""Opening a pipe that nobody writes to must not block."""


def read_text(path: Path, largest_bytes: int = LARGEST_BYTES) -> str:
    """Read a whole file as UTF-8, with or without a BOM. Raises as `read_bytes`, and ValueError for other encodings."""
    return read_bytes(path, largest_bytes).decode("utf-8-sig")


def parse_json(
    text: str | bytes, *, object_pairs_hook: Callable[[list[tuple[str, object]]], object] | None = None
) -> object:
    """Parse untrusted JSON. ValueError for anything invalid, for absurd nesting and for absurdly long numbers."""
    try:
        return json.loads(text, object_pairs_hook=object_pairs_hook, parse_int=_integer)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def reject_duplicate_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """`object_pairs_hook` that raises ValueError for a repeated key: readers disagree on which one counts."""
    found = dict(pairs)
    if len(found) != len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"'{formatting.cut(twice)}' is set twice")
    return found


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)


def read_json(path: Path, largest_bytes: int = LARGEST_BYTES) -> object:
    """Read a file's JSON. Raises as `read_bytes` and `parse_json`."""
    return parse_json(read_text(path, largest_bytes))


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether a regular file exists. False, never an error, for a name that no file system accepts."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises for a name that is too long


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a folder exists. False for a name that no file system accepts."""
    return os.path.isdir(path)  # noqa: PTH112 - as above


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether anything exists at the path. False for a name that no file system accepts."""
    return os.path.exists(path)  # noqa: PTH110 - as above
