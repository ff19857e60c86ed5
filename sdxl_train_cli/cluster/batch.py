"""Trainings that were submitted together: a folder in the shared home, with a folder for each.

Files that are whole or absent, and each is written by one process alone. A database would not do: SQLite's locks can't
be relied upon on the shared file systems of clusters.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.cluster import task_folder
from sdxl_train_cli.cluster.task_folder import Task
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.jobs.job import Waiting

_BATCH, _SUBMITTED, _TASKS = "batch.json", "submitted.json", "tasks"
_NAME_PARTS = 3
"""Of a folder's name: day, time, and what tells two of one second apart."""


@dataclass(frozen=True)
class Batch:
    """Trainings that were submitted together."""

    folder: Path

    @property
    def script(self) -> Path:
        """The script that sbatch was given."""
        return self.folder / "script.sh"

    @property
    def jobs(self) -> tuple[str, ...]:
        """Slurm's IDs, the latest last. Empty if it was not submitted."""
        found = task_folder.read(self.folder / _SUBMITTED).get("jobs")
        return tuple(map(str, found)) if isinstance(found, list) else ()

    def note_job(self, job: str, elements: Sequence[int] | None = None) -> None:
        """Note an ID that Slurm has given it, or given some of its elements that were submitted again.

        A task that starts before the login node has noted it notes the same one.
        """
        again = self._again if elements is None else {**self._again, job: list(elements)}
        task_folder.write(self.folder / _SUBMITTED, {"jobs": list(dict.fromkeys([*self.jobs, job])), "again": again})

    @property
    def has_started(self) -> bool:
        """Whether a task of it was started on a node, whatever the login node knows of its submission."""
        return any(self.folder.glob(f"{_TASKS}/*/{task_folder.START}"))

    @property
    def _again(self) -> Mapping[str, object]:
        """The elements of each job that has only some."""
        found = task_folder.read(self.folder / _SUBMITTED).get("again")
        return found if isinstance(found, dict) else {}

    @property
    def group(self) -> list[Batch]:
        """What was submitted together with it, itself among it: an array each."""
        name = "-".join(self.folder.name.split("-")[:_NAME_PARTS])
        return [Batch(folder) for folder in sorted(self.folder.parent.glob(f"{name}*"))]

    @property
    def is_array(self) -> bool:
        """Whether it was submitted as an array."""
        return bool(task_folder.read(self.folder / _BATCH).get("array"))

    @property
    def at_once(self) -> int | None:
        """How many of its tasks may run at a time. None leaves that to Slurm."""
        found = task_folder.read(self.folder / _BATCH).get("at_once")
        return found if isinstance(found, int) else None

    def id_of(self, task: Task) -> str | None:
        """Slurm's ID of a task's latest job."""
        return self.ids([task.index]).get(task.index)

    def ids(self, indices: Collection[int]) -> Mapping[int, str]:
        """Slurm's ID of the latest job of each of these tasks."""
        again, is_array = self._again, self.is_array
        latest = {index: job for job in self.jobs for index in _numbers(again.get(job, list(indices)))}
        return {index: f"{latest[index]}_{index}" if is_array else latest[index] for index in indices
                if index in latest}  # fmt: skip

    def indices(self) -> list[int]:
        """Its elements. None of one that another command has just removed."""
        try:
            names = os.listdir(self.folder / _TASKS)  # noqa: PTH208 - a Path for each is slow
        except FileNotFoundError:
            return []
        return sorted(int(name) for name in names if name.isdecimal())

    def tasks(self) -> list[Task]:
        """Its trainings, for a list."""
        return [self.listed_task(index) for index in self.indices()]

    def listed_task(self, index: int) -> Task:
        """One training, for a list: a broken one must not hide the others."""
        return task_folder.listed(self.folder / _TASKS / str(index))

    def task(self, index: int) -> Task:
        """One training. UsageError if it can't be read."""
        return task_folder.load(self.folder / _TASKS / str(index))


def new_folders(place: Path, count: int) -> list[Path]:
    """Folders for what is submitted together. Their names begin with the moment, and end with a number if need be."""
    name = f"{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    return [place / name] if count == 1 else [place / f"{name}-{number:03}" for number in range(1, count + 1)]


def create(
    folder: Path, points: Sequence[Waiting], script: Callable[[Batch], str], *, is_array: bool,
    at_once: int | None = None,
) -> Batch:  # fmt: skip
    """Write a batch into one of the `new_folders`, whole or not at all. UsageError if that fails."""
    batch = Batch(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with files.new_folder(batch.folder) as beside:
            for index, point in enumerate(points):
                task_folder.create(beside / _TASKS / str(index), point)
            created = datetime.now(timezone.utc).isoformat()
            task_folder.write(beside / _BATCH, {"created": created, "array": is_array, "at_once": at_once})
            # Here already: a network drive may hide a new file for a minute.
            task_folder.write(beside / _SUBMITTED, {"jobs": []})
            files.write(beside / batch.script.name, script(batch))
    except OSError as error:
        raise UsageError(
            f"{batch.folder} can't be written: {error.strerror}", "check space and permissions there"
        ) from error
    return batch


def all_in(place: Path) -> list[Batch]:
    """The batches that were submitted, the oldest first."""
    return [batch for batch in _whole_ones(place) if batch.jobs]


def _whole_ones(place: Path) -> list[Batch]:
    """Every batch, the oldest first. UsageError if the folder can't be read."""
    try:
        folders = sorted(place.iterdir()) if files.is_folder(place) else []
    except OSError as error:
        raise UsageError(f"{place} can't be read: {error.strerror}", "check its permissions") from error
    return [Batch(folder) for folder in folders if not folder.name.startswith(".") and files.is_folder(folder / _TASKS)]


def end_file(batch: Batch, index: int) -> str:
    """Where a task's end is noted: absent before it, and as soon as it is started again. Text, as there are many."""
    return os.path.join(batch.folder, _TASKS, str(index), task_folder.END)  # noqa: PTH118


def with_tokens(place: Path, tokens: Collection[str]) -> Mapping[str, Batch]:
    """The latest batch that holds each of these tokens, submitted or cut off just before.

    UsageError if the drive does not say: what can't be read may be what was asked for.
    """
    wanted = frozenset(tokens)
    held = ((task_folder.token(task), one) for one in _whole_ones(place) for task in one.folder.glob(f"{_TASKS}/*"))
    return {token: one for token, one in held if token in wanted}


def drop(one: Batch) -> None:
    """Remove a batch that was not submitted, as a whole: a kill leaves no half of it. UsageError if it can't be."""
    away = one.folder.with_name(f".{one.folder.name}.old")
    try:
        one.folder.rename(away)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{one.folder} can't be removed: {error.strerror}", "check its permissions") from error
    shutil.rmtree(away, ignore_errors=True)


def _numbers(found: object) -> list[int]:
    return [number for number in found if isinstance(number, int)] if isinstance(found, list) else []
