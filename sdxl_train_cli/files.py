"""Files as all of ours are written and read: whole or absent, synced to disk, within limits, never through a pipe."""

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
"""More than any file holds that we read as a whole: records, configs, captions."""
MOST_DIGITS = 40
"""Of an integer in JSON: longer ones are no figure of a run, and float() raises for those over 308."""
HALF_WRITTEN = r"\.[0-9a-f]{16}\.new"
"""The name, as a regular expression, of what `write` leaves where the power goes meanwhile."""
_TRIES, _TRY_SECONDS = 10, 0.05
"""Windows refuses a rename while a virus scanner or a reader has the file open."""


def write(path: Path, content: str | bytes, *, over: bool = True) -> None:
    """Write beside and rename, both synced: after a power cut too, a reader sees the old file or the new one.

    Text becomes UTF-8, its line ends stay. Raises OSError; then the old file stands and nothing lies beside it. It is
    FileExistsError where something is there already and `over` is false; a device or a pipe is never renamed over.
    """
    if not over and os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, "is there already", str(path))
    with _beside(path) as beside, beside.open("xb") as file:
        file.write(content.encode() if isinstance(content, str) else content)


def copy(source: Path, path: Path) -> None:
    """Copy a file of any size as `write` does: what a link in the target's place leads to is left alone."""
    with _beside(path) as beside:
        shutil.copyfile(source, beside)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A file beside `path` to be filled, which takes its place once it is on disk; where that fails it goes."""
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
    """Put a folder's list of names on disk, where the system can; without it a rename may be lost in a power cut."""
    with contextlib.suppress(OSError):  # Windows opens no folder, and some network drives sync none
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_bytes(path: Path, largest_bytes: int = LARGEST_BYTES) -> bytes:
    """The whole file.

    Raises OSError where it is no plain file (a pipe would never end) or can't be read, and ValueError where it is
    larger than `largest_bytes` or its name holds a NUL byte.
    """
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(min(size, largest_bytes) + 1)  # room for 64 MiB would cost more than most files' reading
        if len(content) > size:  # it has grown meanwhile, or is one of the system's, which have no size
            content += file.read(largest_bytes + 1 - len(content))
    if len(content) > largest_bytes:
        raise ValueError(f"{path.name} is larger than {largest_bytes:,} bytes")
    return content


def open_plain(path: Path) -> BinaryIO:
    """A plain file opened to be read; OSError for all else: a pipe would be waited for for ever."""
    handle = os.open(path, _READ)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    try:
        if not os.fstat(handle).st_size and os.read(handle, 1):  # one of the system's, some of which wait for more
            os.lseek(handle, 0, os.SEEK_SET)
    except OSError as error:
        os.close(handle)
        raise OSError(errno.EINVAL, "not a plain file", str(path)) from error
    return open(handle, "rb")  # noqa: PTH123 - a Path opens no handle; the caller closes it


def open_new(path: Path) -> BinaryIO:
    """A file of our own to be written from its beginning: a link or a pipe in its place goes, not what it leads to."""
    if os.path.islink(path) or (exists(path) and not is_file(path)):  # noqa: PTH114 - a Path raises for a long name
        path.unlink()
    return path.open("wb")


_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
"""Opening a pipe that nobody writes to must not wait."""


def read_text(path: Path, largest_bytes: int = LARGEST_BYTES) -> str:
    """The whole file as UTF-8, with or without a mark; raises as `read_bytes`, and ValueError where it is no UTF-8."""
    return read_bytes(path, largest_bytes).decode("utf-8-sig")


def parse_json(
    text: str | bytes, *, object_pairs_hook: Callable[[list[tuple[str, object]]], object] | None = None
) -> object:
    """JSON from outside; ValueError for all that is wrong with it, absurd depth and numbers of absurd length too."""
    try:
        return json.loads(text, object_pairs_hook=object_pairs_hook, parse_int=_integer)
    except RecursionError:
        raise ValueError("it is nested far too deeply") from None


def reject_duplicate_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An `object_pairs_hook`: ValueError for a key that is set twice, of which each reader would take another."""
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
    """A file's JSON; raises as `read_bytes` and `parse_json`."""
    return parse_json(read_text(path, largest_bytes))


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether a plain file is there; False, never an error, for a name that no file system takes."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises for a name that is too long


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a folder is there; False for a name that no file system takes."""
    return os.path.isdir(path)  # noqa: PTH112 - as above


def exists(path: str | os.PathLike[str]) -> bool:
    """Whether anything is there; False for a name that no file system takes."""
    return os.path.exists(path)  # noqa: PTH110 - as above
