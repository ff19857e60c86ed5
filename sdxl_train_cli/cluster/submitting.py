"""Submit trainings to Slurm: one job for one, an array for several, and several arrays where one may not be so long."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import formatting
from sdxl_train_cli.cluster import batch, script, slurm
from sdxl_train_cli.cluster.batch import Batch
from sdxl_train_cli.cluster.script import Submission
from sdxl_train_cli.cluster.settings import ClusterSettings
from sdxl_train_cli.cluster.slurm import Limits, SilentSlurmError, SlurmError
from sdxl_train_cli.errors import Problem, UsageError
from sdxl_train_cli.jobs.job import Waiting
from sdxl_train_cli.layout import Home


@dataclass(frozen=True)
class ArrayPart:
    """Points that are submitted as one array, or the only point."""

    points: Sequence[Waiting]
    number: int | None = None
    """Among several arrays, from 1."""

    @property
    def is_array(self) -> bool:
        """Whether its elements have numbers."""
        return len(self.points) > 1 or self.number is not None

    @property
    def name(self) -> str:
        """Of its job."""
        first = self.points[0]
        if not self.is_array:
            return first.name
        return f"{first.kind}-{len(self.points)}" if self.number is None else f"{first.kind}-part{self.number}"


@dataclass(frozen=True)
class SlurmEngine:
    """A cluster that carries out trainings. Called with some, it submits them."""

    home: Home
    """Shared by all nodes."""
    settings: ClusterSettings
    nodes: int = 1
    """Nodes of each training."""

    def __call__(self, points: Sequence[Waiting], *, at_once: int | None = None) -> None:
        """Submit all of them or none. SlurmError if Slurm refuses; nothing is left then."""
        self.submit(points, at_once=at_once)

    def submit(self, points: Sequence[Waiting], *, at_once: int | None = None) -> list[Batch]:
        """Submit all of them or none, and return what was submitted, an array each. Raises as above.

        All is written first. Of several arrays with a limit at once, each waits until the one before has ended: Slurm
        counts within one array alone.
        """
        parts = list(_parts(points))
        made, asked, jobs = list[Batch](), list[Path](), list[str]()
        try:
            for part, folder in zip(parts, batch.new_folders(self.home.cluster, len(parts)), strict=True):
                made.append(self._create(folder, part, at_once))
            for one in made:
                after = [f"--dependency=afterany:{jobs[-1]}"] if jobs and at_once is not None else []
                asked.append(one.script)
                jobs.append(slurm.submit(one.script, *after))
                one.note_job(jobs[-1])
        except BaseException as error:
            _take_back(jobs, asked[len(jobs) :], error)
            for one in made:
                with contextlib.suppress(UsageError):
                    batch.drop(one)
            if isinstance(error, OSError):
                raise _unwritable(self.home.cluster, error) from error
            raise
        return made

    def _create(self, folder: Path, part: ArrayPart, at_once: int | None) -> Batch:
        def text(made: Batch) -> str:
            return self._script(part, at_once, made)

        return batch.create(folder, part.points, text, is_array=part.is_array, at_once=at_once)

    def scripts(self, points: Sequence[Waiting], at_once: int | None) -> list[str]:
        """The script of each array, as it would be."""
        return [self._script(part, at_once) for part in _parts(points)]

    def _script(self, part: ArrayPart, at_once: int | None, made: Batch | None = None) -> str:
        like = "BATCH" if part.number is None else f"BATCH-{part.number:03}"
        folder = self.home.cluster / like if made is None else made.folder
        start = [*own_argv("run"), "--home", str(self.home.path), str(folder)]
        return script.text(
            self.settings,
            Submission(
                name=part.name,
                output=script.escaped(folder / "tasks") / ("%a" if part.is_array else "0") / "output.log",
                start=start,
                count=len(part.points) if part.is_array else None,
                at_once=at_once,
                nodes=self.nodes,
            ),
        )


def _parts(points: Sequence[Waiting]) -> Iterator[ArrayPart]:
    """The points, in arrays as long as Slurm says they may be. Where it does not say, one array is tried.

    SlurmError for more than Slurm holds.
    """
    limits = slurm.limits() if len(points) > 1 else Limits()
    if limits.most_jobs is not None and len(points) > limits.most_jobs:
        words = f"{len(points)} runs are more jobs than Slurm holds here: its MaxJobCount is {limits.most_jobs}"
        fewer = max(1, limits.most_jobs // 2)
        raise SlurmError(words, f"take fewer points: --random {fewer}, or --search {fewer} for a search")
    longest = limits.longest_array or len(points)
    if len(points) <= longest:
        yield ArrayPart(points)
        return
    for number, start in enumerate(range(0, len(points), longest), 1):
        yield ArrayPart(points[start : start + longest], number)


class NotTakenBackError(SlurmError):
    """Part of what was submitted could not be cancelled, so that it goes on: `cluster list` shows it."""


def _take_back(jobs: Sequence[str], unanswered: Sequence[Path], why: BaseException) -> None:
    """Cancel what was submitted, the last first, as it waits for those before. `why` has cut the submission off.

    `unanswered` are scripts that Slurm was given and did not answer for. NotTakenBackError if it does not cancel.
    """
    is_refused = isinstance(why, SlurmError) and not isinstance(why, SilentSlurmError)
    known = list(jobs)
    try:
        if not is_refused:  # it may have been accepted
            known += filter(None, map(slurm.of_script, unanswered))
        if known:
            slurm.cancel(*reversed(known))
    except SlurmError as error:
        count = formatting.counted(max(1, len(known)), "job")
        words = f"{count} could not be taken back: {error.problems[0].message}"
        raise NotTakenBackError(Problem(words, f"scancel {' '.join(known)}" if known else "squeue --me")) from error


def _unwritable(place: Path, error: OSError) -> UsageError:
    hint = "nothing was submitted; check space and permissions there"
    return UsageError(f"{place} can't be written: {error.strerror}", hint)


def retry(one: Batch, indices: Sequence[int]) -> str:
    """Submit some tasks of a batch again and return the job's ID. What they have made is resumed."""
    limit = "" if one.at_once is None else f"%{one.at_once}"
    array = [f"--array={','.join(map(str, indices))}{limit}"] if one.is_array else []
    jobs = list[str]()
    try:
        for index in indices:
            one.task(index).forget_stalls()
        jobs.append(slurm.submit(one.script, *array))
        one.note_job(jobs[0], indices if one.is_array else None)
    except OSError as error:
        _take_back(jobs, [], error)
        raise _unwritable(one.folder.parent, error) from error
    return jobs[0]


def own_argv(*words: str) -> list[str]:
    """The command line of one of our commands for nodes."""
    return [sys.executable, "-m", "sdxl_train_cli", "cluster", *words]
