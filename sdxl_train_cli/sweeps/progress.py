"""What has become of a sweep's points: the job and the run of each, found by its token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.jobs.job import Job, JobState
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.records import history, picture_losses, record
from sdxl_train_cli.records.history import Loaded, RunState
from sdxl_train_cli.records.picture_losses import Validation
from sdxl_train_cli.sweeps.sweep import Point, Sweep

PRUNED = "pruned"
"""State of a point that was stopped early because it was clearly behind."""
REFUSED = "refused"
"""State of a search's point that can't train."""
GONE = "removed"
"""State of a point without job and run: both were removed."""
_ENDED = {state.value for state in JobState if state.has_ended} | {PRUNED, GONE, REFUSED}
_MOST_NUMBERS = 50
"""Folders NAME-2, NAME-3 ... that are looked into."""


@dataclass(frozen=True)
class FollowedPoint:
    """A point, its job and its run as they are now."""

    point: Point
    job: Job | None
    run: Loaded | None

    @property
    def state(self) -> str:
        """In a word."""
        if self.point.refused is not None:
            return REFUSED
        if self.run is not None and self.run.outcome is not None and self.run.outcome.pruned is not None:
            return PRUNED
        if self.job is not None:
            return self.job.state.value
        return GONE if self.run is None else self.run.state.value

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes of it by itself."""
        return self.state in _ENDED

    @property
    def cause(self) -> str | None:
        """Why it failed, was refused or pruned."""
        if self.point.refused is not None:
            return self.point.refused
        outcome = None if self.run is None else self.run.outcome
        if outcome is not None and outcome.pruned is not None:
            return outcome.pruned
        return self.job.cause if self.job is not None and self.job.cause else None if outcome is None else outcome.cause

    @property
    def validations(self) -> tuple[Validation, ...]:
        """Looks at its held-back pictures so far."""
        return () if self.run is None else picture_losses.load(self.run.folder / picture_losses.FILE)


def follow(sweep: Sweep, queue: Queue) -> list[FollowedPoint]:
    """Every point as it is now, in the order in which they were made."""
    jobs = queue.with_tokens([point.token for point in sweep.points])
    return [FollowedPoint(point, job := jobs.get(point.token), _run(sweep, point, job)) for point in sweep.points]


def _run(sweep: Sweep, point: Point, job: Job | None) -> Loaded | None:
    """The point's run. A folder of its name may hold another's; the token tells."""
    folders = [job.folder] if job is not None and job.folder is not None else list(_folders(sweep.output, point.name))
    if job is not None and job.folder is None:
        return None
    for folder in folders:
        if not files.is_file(folder / record.RUN):
            continue
        entry = history.load(folder)
        inputs = entry.record.inputs
        if entry.state is not RunState.BROKEN and inputs is not None and inputs.job == point.token:
            return entry
    return None


def _folders(output: Path, name: str) -> Iterator[Path]:
    yield output / name
    for number in count(2):
        folder = output / f"{name}-{number}"
        if number > _MOST_NUMBERS or not files.is_folder(folder):
            return
        yield folder
