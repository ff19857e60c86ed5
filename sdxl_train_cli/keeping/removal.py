"""Delete a run's folder: only one that we wrote, never one that goes on, and never through a link."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli.errors import Problem, UsageError
from sdxl_train_cli.keeping import history, record, results
from sdxl_train_cli.keeping.history import Loaded, State


@dataclass(frozen=True)
class Doomed:
    """What is to be deleted, and what of it stays."""

    entry: Loaded
    files: int
    size_bytes: int
    kept: tuple[Path, ...] | None = None
    """None where nothing was asked to stay."""

    @property
    def words(self) -> str:
        """One line for the question."""
        stays = "" if self.kept is None else f", keeping {', '.join(path.name for path in self.kept) or 'nothing'}"
        return f"{self.entry.folder} ({self.entry.state.value}, {self.files} files){stays}"


def problem(entry: Loaded) -> Problem | None:
    """Why a run may not be deleted."""
    folder = entry.folder
    if folder.is_symlink():
        return Problem(f"{folder} is a link to {folder.readlink()}", "links are not followed: give the folder itself")
    if entry.state is State.BROKEN:
        hint = "nothing proves that it is a run of ours: delete it by hand"
        return Problem(f"the record of {folder} is broken: {entry.problem}", hint)
    if entry.state is State.RUNNING:
        return Problem(f"{entry.name} is running", "stop it first: Ctrl-C where it runs")
    inner = next((path for path in _walk(folder) if path.name == record.RUN and path.parent != folder), None)
    return Problem(f"{folder} holds another run: {inner.parent}", "move or remove that one first") if inner else None


def doomed(entry: Loaded, *, keep_result: bool) -> Doomed:
    """What deleting the run would take away."""
    saved = results.checkpoints(entry.folder, entry.name) if keep_result else []
    kept = tuple(made.path for made in saved if made.moment == results.FINAL)
    files = [path for path in _walk(entry.folder) if path not in kept]
    return Doomed(entry, len(files), sum(path.lstat().st_size for path in files), kept if keep_result else None)


def remove(doomed_run: Doomed) -> None:
    """Delete it; the record goes last, so that what was left by a failure is still known as a run.

    Raises UsageError with what could not be deleted.
    """
    folder = doomed_run.entry.folder
    found = problem(history.load(folder))  # it may have been started again while the question stood there
    if found is not None:
        raise UsageError(found)
    try:
        for path in sorted(folder.iterdir(), key=lambda path: path.name == record.RUN):
            if path in (doomed_run.kept or ()):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        if not doomed_run.kept:
            folder.rmdir()
    except OSError as error:
        raise UsageError(
            f"{error.filename} can't be deleted: {error.strerror}", "close what uses it, then try again"
        ) from error


def _walk(folder: Path) -> list[Path]:
    """Every file and link below a folder; links are named and not entered."""
    return [
        Path(root, name)
        for root, folders, files in os.walk(folder)
        for name in [*files, *(name for name in folders if Path(root, name).is_symlink())]
    ]
