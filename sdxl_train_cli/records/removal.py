"""Delete a run: only files known to be the run's, never while it is running, never through a link."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli.dataset import trainer_config
from sdxl_train_cli.errors import Problem, UsageError
from sdxl_train_cli.files import HALF_WRITTEN
from sdxl_train_cli.records import history, in_use, picture_losses, record, run_owner
from sdxl_train_cli.records.history import Loaded, RunState
from sdxl_train_cli.sdscripts import results

_FILES = frozenset({
    record.RUN, record.OUTCOME, record.RUNNING, record.LOCK, record.METRICS, record.LOG, record.DATASET, record.REPORT,
    record.BEST, picture_losses.FILE,
})  # fmt: skip
_FOLDERS = frozenset({record.EVENTS, record.GRID, results.SAMPLES})
_WRITTEN = "|".join(map(re.escape, (record.RUN, record.OUTCOME, record.RUNNING, record.DATASET, record.METRICS)))
_OTHERS = re.compile(rf"{trainer_config.METADATA}|{HALF_WRITTEN}|({_WRITTEN})\.new")
"""Metadata files, and temporary files left by a kill."""
_LAST = (record.RUN, record.LOCK)
"""Files that prove that the rest belongs to a run, and that lock it meanwhile."""
_MOST_SHOWN = 5


@dataclass(frozen=True)
class Deletion:
    """Files to delete, and files to keep."""

    entry: Loaded
    files: int
    size_bytes: int
    paths: tuple[Path, ...]
    """Files to delete, in order."""
    kept: tuple[Path, ...] | None = None
    """The result. None if it is deleted too."""
    foreign: tuple[Path, ...] = ()
    """Files that may not be the run's. They are kept."""

    @property
    def words(self) -> str:
        """One line for the confirmation."""
        stays = "" if self.kept is None else f", keeping {_names(self.kept) or 'nothing'}"
        stays += f", leaving what does not belong to the run: {_names(self.foreign)}" if self.foreign else ""
        return f"{self.entry.folder} ({self.entry.state.value}, {self.files} files){stays}"


def problem(entry: Loaded, *, force: bool = False) -> Problem | None:
    """Why a run can't be deleted. `force` allows a run that another computer may be training."""
    folder = entry.folder
    if folder.is_symlink():
        return Problem(f"{folder} is a link to {folder.readlink()}", "links are not followed: give the folder itself")
    if entry.state is RunState.BROKEN:
        hint = "nothing proves that sdxl-train made it: delete it by hand"
        return Problem(f"the record of {folder} is broken: {entry.problem}", hint)
    busy = in_use.still_running(entry, force=force, command="rm")
    if busy is not None:
        return busy
    inner = next((path for path in _walk(folder) if path.name == record.RUN and path.parent != folder), None)
    return Problem(f"{folder} holds another run: {inner.parent}", "move or remove that one first") if inner else None


def plan_deletion(entry: Loaded, *, keep_result: bool) -> Deletion:
    """What deleting the run removes. UsageError if the result to keep can't be identified."""
    try:
        return _plan(entry, keep_result=keep_result)
    except OSError as error:
        raise UsageError(f"{error.filename} can't be read: {error.strerror}", "check its permissions") from error


def _plan(entry: Loaded, *, keep_result: bool) -> Deletion:
    kept = _result(entry) if keep_result else ()
    inside = sorted(entry.folder.iterdir())
    ours = [path for path in inside if path not in kept and _is_ours(path, entry.name)]
    files = [file for path in ours for file in _files(path)]
    foreign = tuple(path for path in inside if path not in ours and path not in kept)
    return Deletion(
        entry,
        len(files),
        sum(path.lstat().st_size for path in files),
        tuple(sorted(ours, key=lambda path: path.name in _LAST)),
        kept if keep_result else None,
        foreign,
    )


def remove(deletion: Deletion, *, force: bool = False) -> None:
    """Delete the run. The record goes last, so that a partial deletion is still recognised as a run.

    Raises UsageError naming what could not be deleted.
    """
    folder = deletion.entry.folder
    found = problem(history.load(folder), force=force)  # it may have been started since the check
    if found is not None:
        raise UsageError(found)
    try:
        with run_owner.hold(folder):
            for path in deletion.paths:
                if path.name != record.LOCK:
                    _delete(path)
        (folder / record.LOCK).unlink(missing_ok=True)  # Windows can't delete an open file
        if not deletion.kept and not deletion.foreign:
            folder.rmdir()
    except OSError as error:
        raise UsageError(
            f"{error.filename} can't be deleted: {error.strerror}", "close the program that uses it, then try again"
        ) from error


def _result(entry: Loaded) -> tuple[Path, ...]:
    """The final trained file, and its link target within the folder."""
    finals = {
        path
        for path in entry.folder.iterdir()
        if results.is_checkpoint(path, entry.name) and path.stem == entry.name and os.path.isfile(path)  # noqa: PTH113 - a name of any form
    }
    if not finals:
        others = sorted(path for path in entry.folder.iterdir() if _may_be_weights(path, entry.name))
        if others:
            raise UsageError(
                f"{entry.name} has no {entry.name}.safetensors, so its result can't be told apart from "
                f"{_names(others)}",
                "move what you want to keep out of the folder, then delete it without --keep-result",
            )
    targets = {Path(os.path.realpath(path)) for path in finals}
    inside = {path for path in entry.folder.iterdir() if Path(os.path.realpath(path)) in targets}
    return tuple(sorted(finals | inside))


def _may_be_weights(path: Path, name: str) -> bool:
    is_model = path.suffix.lower() in results.CHECKPOINT_SUFFIXES
    return is_model or (path.name.lower() == name.lower() and path.is_dir())


def _is_ours(path: Path, name: str) -> bool:
    """Whether a run of this name creates such a file or folder. A link is removed as a link."""
    if path.is_dir() and not path.is_symlink():
        return path.name in _FOLDERS or results.is_state(path, name)
    return path.name in _FILES or bool(_OTHERS.fullmatch(path.name)) or results.is_checkpoint(path, name)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _names(paths: tuple[Path, ...] | list[Path]) -> str:
    more = f" and {len(paths) - _MOST_SHOWN} more" if len(paths) > _MOST_SHOWN else ""
    return ", ".join(path.name for path in paths[:_MOST_SHOWN]) + more


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir() and not path.is_symlink():
        yield from _walk(path)
    else:
        yield path


def _walk(folder: Path) -> list[Path]:
    """Every file and link below a folder. Links are not followed."""
    return [
        Path(root, name)
        for root, folders, files in os.walk(folder)
        for name in [*files, *(name for name in folders if Path(root, name).is_symlink())]
    ]
