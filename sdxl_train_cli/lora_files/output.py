"""Where a result goes: never over an input, and only where the disk has room for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from sdxl_train_cli import files, formatting, layout
from sdxl_train_cli.errors import Problem, UsageError

SUFFIX = ".safetensors"
_SPARE_BYTES = 1_000_000


def choose(typed: Path | None, first: Path, ending: str, inputs: Iterable[Path], *, force: bool) -> Path:
    """The file to write: what was typed, or beside the first input as `NAME.ENDING.safetensors`.

    Its folder may be missing: it is made with the file. UsageError if the file is an input by any name, exists without
    `force`, or can't be written.
    """
    path = layout.expand(typed) if typed is not None else first.with_name(f"{first.stem}.{ending}{SUFFIX}")
    if files.is_folder(path):
        path /= f"{first.stem}.{ending}{SUFFIX}"
    if path.suffix.lower() != SUFFIX:
        whole = layout.as_typed(path.with_name(path.name + SUFFIX))
        raise UsageError(f"{path.name} does not end in {SUFFIX}", f"-o {formatting.shell_word(whole)}")
    there = _nearest(path)
    if not files.is_folder(there):
        raise UsageError(f"{there} is no folder", "choose another place with -o FILE")
    for source in inputs:
        if is_same(path, source):
            raise UsageError(f"{path} is the input: it is never overwritten", "choose another name: -o FILE")
    if os.path.lexists(path) and not force:
        raise UsageError(f"{path} exists", "choose another name with -o, or overwrite it with --force")
    if os.path.lexists(path) and not files.is_file(path):
        raise UsageError(f"{path} is no plain file", "choose another name with -o")
    if not os.access(there, os.W_OK):
        raise UsageError(f"nothing can be written to {there}", "choose another place with -o FILE")
    return path


def _nearest(path: Path) -> Path:
    """The innermost of its folders that is there."""
    return next(folder for folder in path.parents if os.path.lexists(folder))


def is_same(path: Path, other: Path) -> bool:
    """Whether two names are one file: through links, or where the disk takes capitals for small letters."""
    if os.path.realpath(path) == os.path.realpath(other):
        return True
    try:
        return path.samefile(other)
    except OSError:
        return False


def require_room(path: Path, size_bytes: int) -> None:
    """UsageError if the disk has less room than the result is going to take."""
    try:
        free = shutil.disk_usage(_nearest(path)).free
    except OSError:
        return  # writing will say it in better words
    if free < size_bytes + _SPARE_BYTES:
        raise UsageError(
            Problem(
                f"{path.parent} has {formatting.size(free)} left, but the result takes {formatting.size(size_bytes)}",
                "free some space, or choose another disk with -o FILE",
            )
        )
