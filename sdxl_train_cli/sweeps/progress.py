"""What has become of a sweep's points: the job or the cluster's task of each and its run, found by its token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.cluster import overview
from sdxl_train_cli.cluster.batch import Batch
from sdxl_train_cli.cluster.overview import TaskState, TaskView
from sdxl_train_cli.jobs.job import Job, JobState
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.records import picture_losses
from sdxl_train_cli.records.picture_losses import Validation
from sdxl_train_cli.sweeps import point_runs
from sdxl_train_cli.sweeps.point_runs import PointRun
from sdxl_train_cli.sweeps.sweep import Point, Sweep

PRUNED = "pruned"
"""State of a point that was stopped early because it was clearly behind."""
REFUSED = "refused"
"""State of a search's point that can't train."""
GONE = "removed"
"""State of a point without job and run: both were removed."""
_ENDED = {state.value for state in JobState if state.has_ended} | {PRUNED, GONE, REFUSED}
"""A cluster's tasks end in the same words."""
_MOST_NUMBERS = 50
"""Folders NAME-2, NAME-3 ... that are looked into."""


@dataclass(frozen=True)
class FollowedPoint:
    """A point, its job and its run as they are now."""

    point: Point
    job: Job | None
    run: PointRun | None
    task: TaskView | None = None
    """Where a cluster has it."""

    @property
    def state(self) -> str:
        """In a word."""
        if self.point.refused is not None:
            return REFUSED
        if self.run is not None and self.run.pruned is not None:
            return PRUNED
        if self.task is not None:
            return self.task.state.value
        if self.job is not None:
            return self.job.state.value
        return GONE if self.run is None else self.run.state.value

    @property
    def words(self) -> str:
        """Its state for a table: with the node where it runs, or with what it waits for."""
        return self.task.words if self.task is not None and self.state == self.task.state.value else self.state

    @property
    def waits_for(self) -> str | None:
        """Why a cluster has not started it yet, in Slurm's word."""
        return self.task.detail or None if self.task is not None and self.task.state is TaskState.PENDING else None

    @property
    def job_id(self) -> int | str | None:
        """The number of its job: this computer's, or Slurm's."""
        if self.task is not None:
            return self.task.job
        return None if self.job is None else self.job.id

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes of it by itself."""
        return self.state in _ENDED

    @property
    def cause(self) -> str | None:
        """Why it failed, was refused or pruned."""
        if self.point.refused is not None:
            return self.point.refused
        if self.run is not None and self.run.pruned is not None:
            return self.run.pruned
        if self.task is not None:
            return None if self.task.state.is_open else self.task.detail or None
        if self.job is not None and self.job.cause:
            return self.job.cause
        return None if self.run is None else self.run.cause

    @property
    def validations(self) -> tuple[Validation, ...]:
        """Looks at its held-back pictures so far."""
        return () if self.run is None else picture_losses.load(self.run.folder / picture_losses.FILE)


def follow(sweep: Sweep, queue: Queue) -> list[FollowedPoint]:
    """Every point as it is now, in the order in which they were made."""
    return follow_all([sweep], queue)[0]


def follow_all(sweeps: Sequence[Sweep], queue: Queue, cluster: Path | None = None) -> list[list[FollowedPoint]]:
    """The points of each sweep. Slurm is asked once for all, and only where it has some that have not ended."""
    jobs = queue.with_tokens([point.token for sweep in sweeps for point in sweep.points if not sweep.on_slurm])
    # What the queue no longer has may have been handed over to the cluster.
    there = {point.token for sweep in sweeps for point in sweep.points if point.token not in jobs}
    tasks = {} if cluster is None else overview.with_tokens(cluster, there)
    found = [[_placed(sweep, point, jobs.get(point.token), tasks.get(point.token)) for point in sweep.points]
             for sweep in sweeps]  # fmt: skip
    runs = point_runs.load_all(folder for each in found for one in each for folder in one.folders)
    return [[one.followed(runs) for one in each] for each in found]


def follow_tasks(sweep: Sweep, batches: Sequence[Batch]) -> list[FollowedPoint]:
    """The points that a cluster has, as far as their folders tell. Slurm is not asked."""
    tasks = overview.noted(batches)
    found = [_placed(sweep, point, None, tasks.get(point.token)) for point in sweep.points]
    runs = point_runs.load_all(folder for one in found for folder in one.folders)
    return [one.followed(runs) for one in found]


@dataclass(frozen=True)
class _PlacedPoint:
    """A point, and the folders in which its run may be."""

    point: Point
    job: Job | None
    task: TaskView | None
    folders: Sequence[Path]

    def followed(self, runs: Mapping[Path, PointRun]) -> FollowedPoint:
        """The point with its run. A folder of its name may hold another's; the token tells."""
        there = (runs.get(folder) for folder in self.folders)
        run = next((one for one in there if one is not None and one.job == self.point.token), None)
        return FollowedPoint(self.point, self.job, run, self.task)


def _placed(sweep: Sweep, point: Point, job: Job | None, task: TaskView | None) -> _PlacedPoint:
    chosen = None if task is None else task.task.point
    if task is not None and chosen is not None:
        update = {"name": task.task.name, "settings": chosen.settings, "refused": chosen.refused}
        point = point.model_copy(update=update)
    known = [folder for folder in (None if job is None else job.folder, None if task is None else task.task.run)
             if folder is not None]  # fmt: skip
    is_new = (job is not None or task is not None) and not known
    folders = known or ([] if is_new else list(_folders(sweep.output, point.name)))
    return _PlacedPoint(point, job, task, folders)


def _folders(output: Path, name: str) -> Iterator[Path]:
    yield output / name
    for number in count(2):
        folder = output / f"{name}-{number}"
        if number > _MOST_NUMBERS or not files.is_folder(folder):
            return
        yield folder
