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

from sdxl_train_cli import files, formatting, layout
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.lora_files import output
from sdxl_train_cli.sharing import model_copy
from sdxl_train_cli.sharing.share_plan import SUMS, Share

ZIP = ".zip"
_NO_FOLDERS = frozenset({".7z", ".bz2", ".ckpt", ".gz", ".pt", ".rar", ".safetensors", ".tar", ".tbz2", ".tgz", ".txz",
                         ".xz", ".zipx", ".zst"})  # fmt: skip
"""Endings of files that a share is not written as. Nobody means a folder by them."""
_FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip can hold: a share has no time."""
_MODE = 0o100644
_UNIX = 3
_DIGEST = 64


def write(share: Share, place: Path) -> None:
    """Write a folder, or a zip where the place is called so. A share that stands there is replaced whole.

    UsageError if something else stands there, or it can't be written.
    """
    require_new(place, share.facts.model.stem)
    try:
        output.require_room(place, sum(share.sizes.values()))
        if is_zip(place):
            with files.made_whole(place) as made, made.open("xb") as file:
                _write_zip(share, place.stem, file)
        else:
            with files.made_parent(place), files.new_folder(place, over=files.exists(place)) as folder:
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


def is_folder(place: Path) -> bool:
    """Whether a share is written there as a folder."""
    return not is_zip(place) and place.suffix.lower() not in _NO_FOLDERS


def is_zip(place: Path) -> bool:
    """Whether a share is written there as a zip."""
    return place.suffix.lower() == ZIP


def require_new(place: Path, name: str) -> None:
    """UsageError if a share can't be written there: the file is of another kind, or something else stands there.

    `name` is what the share's folder is called where a folder for it was given.
    """
    if place.suffix.lower() in _NO_FOLDERS and not files.is_folder(place):
        bare = place
        while bare.suffix.lower() in _NO_FOLDERS:
            bare = bare.with_suffix("")
        zipped = formatting.shell_word(layout.as_typed(bare.with_name(f"{bare.name}{ZIP}")))
        raise UsageError(f"a share is a folder or a zip, not a {place.suffix} file", f"-o {zipped}")
    problem = _in_the_way(place)
    if problem is not None:
        raise UsageError(f"{place} is there already, and {problem}", _free_place(place, name))


def _in_the_way(place: Path) -> str | None:
    """Why what stands there can't be replaced. None if nothing does, or a share."""
    if not os.path.lexists(place):
        return None
    if place.is_symlink():
        return "it is a link"
    if files.is_folder(place):
        return _changed(place)
    return None if is_zip(place) and _is_share(place) else "it is no share"


def _free_place(place: Path, name: str) -> str:
    """Inside a folder of other things, where a share can stand there."""
    inside = place / name
    if files.is_folder(place) and not files.exists(place / SUMS) and _in_the_way(inside) is None:
        return f"-o {formatting.shell_word(layout.as_typed(inside))}"
    return "give -o another name, or move it away"


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
