"""Write a share as a folder or a zip: whole or not at all, and the same share byte for byte the same."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from sdxl_train_cli import files, formatting
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.lora_files import output
from sdxl_train_cli.sharing import model_copy
from sdxl_train_cli.sharing.share_plan import SUMS, Share

ZIP = ".zip"
_FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip can hold: a share has no time."""
_MODE = 0o100644
_UNIX = 3
_DIGEST = 64


def write(share: Share, place: Path) -> None:
    """Write a folder, or a zip where the place is called so. A share that stands there is replaced whole.

    UsageError if something else stands there, or it can't be written.
    """
    require_new(place)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        output.require_room(place, sum(share.sizes.values()))
        if place.suffix.lower() == ZIP:
            with files.made_whole(place) as made, made.open("xb") as file:
                _write_zip(share, place.stem, file)
        else:
            with files.new_folder(place, over=files.exists(place)) as folder:
                _write_folder(share, folder)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            needed = formatting.size(sum(share.sizes.values()))
            raise UsageError(f"the disk of {place} is full", f"a share needs {needed}: free some space") from error
        raise UsageError(f"{place} can't be written: {error.strerror or error}", "give -o another place") from error


def _write_folder(share: Share, folder: Path) -> None:
    with (folder / share.facts.model.file).open("xb") as file:
        model_copy.write(share.copy, file)
        file.flush()
        os.fsync(file.fileno())
    for name, content in share.contents.items():
        (folder / name).parent.mkdir(exist_ok=True)
        files.write(folder / name, content)


def _write_zip(share: Share, top: str, file: BinaryIO) -> None:
    """Nothing is compressed: weights and PNG don't shrink, and another zlib would write other bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, strict_timestamps=True) as packed:
        for name, fill in _entries(share):
            entry = zipfile.ZipInfo(f"{top}/{name}", _FIRST_DAY)
            entry.create_system, entry.external_attr = _UNIX, _MODE << 16
            with packed.open(entry, "w", force_zip64=name == share.facts.model.file) as into:
                fill(cast("BinaryIO", into))


def _entries(share: Share) -> Iterator[tuple[str, Callable[[BinaryIO], object]]]:
    yield share.facts.model.file, lambda into: model_copy.write(share.copy, into)
    for name, content in share.contents.items():
        yield name, _writer(content)


def _writer(content: bytes) -> Callable[[BinaryIO], object]:
    return lambda into: into.write(content)


def require_new(place: Path) -> None:
    """UsageError if something stands there that is no share, or one that somebody has changed since."""
    if not os.path.lexists(place):
        return
    if place.is_symlink():
        problem: str | None = "it is a link"
    elif files.is_folder(place):
        problem = _changed(place)
    else:
        problem = None if place.suffix.lower() == ZIP and _is_share(place) else "it is no share"
    if problem is not None:
        raise UsageError(f"{place} is there already, and {problem}", "give -o another name, or move it away")


def _is_share(packed: Path) -> bool:
    with contextlib.suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(packed) as found:
        return any(name.endswith(f"/{SUMS}") for name in found.namelist())
    return False


def _changed(folder: Path) -> str | None:
    """Why a folder is no share as it was made. None if it is one, or empty."""
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    if not there:
        return None
    try:
        lines = files.read_text(folder / SUMS).splitlines()
    except (OSError, ValueError):
        return "it is no share"
    sums = {line[_DIGEST:].strip(): line[:_DIGEST] for line in lines}
    if there != {*sums, SUMS}:
        return "it holds other files than a share"
    for name, digest in sums.items():
        if not name.endswith(".safetensors") and not _has_digest(folder / name, digest):
            return f"{name} was changed since"
    return None


def _has_digest(path: Path, digest: str) -> bool:
    try:
        return hashlib.sha256(files.read_bytes(path)).hexdigest() == digest
    except (OSError, ValueError):
        return False
