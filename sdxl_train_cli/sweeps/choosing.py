"""Choose the point of a cluster's task as it starts: from what the others of its search have shown, and what they try.

Nobody sees to a search on a cluster, and the locks of shared drives can't be relied upon. So each task writes its own
file alone: it notes a point, looks whether another task has noted the same, and trains once it is sure. Of two that
have noted the same, the later element gives way, and any to one that is sure already. A task that is started again
keeps its point.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from sdxl_train_cli.cluster import task_index
from sdxl_train_cli.cluster.batch import Batch
from sdxl_train_cli.cluster.carrying import NoPointError
from sdxl_train_cli.cluster.task_folder import ChosenPoint, Task
from sdxl_train_cli.errors import SdxlTrainError, SetupError
from sdxl_train_cli.jobs.job import Waiting
from sdxl_train_cli.sweeps import axes, comparing, point_names, progress, searching, suggestions
from sdxl_train_cli.sweeps.axes import Settings
from sdxl_train_cli.sweeps.progress import FollowedPoint
from sdxl_train_cli.sweeps.suggestions import Knowledge, TriedPoint
from sdxl_train_cli.sweeps.sweep import Sweep

_TRIES = 50
"""Points that a task may give up for others. As many would have to start in the same moment."""
_PATIENCE_SECONDS, _LOOK_SECONDS = 30.0, 0.5
"""How long a later element may take to give way. One that was killed does so when it is started again."""


@dataclass(frozen=True)
class ClusterSearch:
    """A search as one of its tasks sees it."""

    sweep: Sweep
    batches: Sequence[Batch]
    """What it was submitted as."""
    make: Callable[[Sweep, str, Mapping[str, str]], Waiting]
    """Check a point of this name and settings, and make its job. Raises what is wrong."""
    say: Callable[[str], None]
    sleep: Callable[[float], None] = time.sleep

    def follow(self) -> list[FollowedPoint]:
        """Every point as the folders tell. Slurm is not asked: a node, or a container on it, may not reach it."""
        return progress.follow_tasks(self.sweep, self.batches)

    def with_point(self, task: Task) -> Task:
        """The task with a point that no other one has, checked as a run is.

        NoPointError where the search is over; what the check raises where the point can't train, which is noted.
        """
        if task.point is None or not task.point.is_settled:
            task = self._choose(task)
        return task if task.point is None or task.point.is_checked else self._check(task, task.point)

    def _choose(self, task: Task) -> Task:
        """The task with a point of its own. An earlier start may have noted one, and been killed before it was sure."""
        noted = task.point
        for attempt in range(_TRIES):
            others = [one for one in self.follow() if one.point.token != task.token and _chosen(one) is not None]
            settings = self._next(task, others, attempt) if noted is None else noted.settings
            (name,) = point_names.of(self.sweep.name, [settings], [one.point.name for one in others])
            task = task.note_point(name, ChosenPoint(settings))
            if self._is_sure(task, settings):
                self.say(f"point of the search: {name}")
                return task.note_point(name, ChosenPoint(settings, is_settled=True))
            noted = None
        raise NoPointError(f"{_TRIES} points in a row were taken by other tasks")

    def _next(self, task: Task, others: Sequence[FollowedPoint], attempt: int) -> Settings:
        """What to try. The first third is drawn at random, by number, so that it depends on no other task."""
        varied, number = tuple(map(searching.axis_of, self.sweep.axes)), self._numbers.get(task.token, -1)
        found = comparing.compare(others)
        over = searching.why_over(found)
        if over is not None:
            raise NoPointError(f"the search is over: {over}")
        first = axes.at_random(varied, suggestions.at_random_first(self.sweep.count))
        if number < len(first) and not attempt:
            return first[number]
        theirs = {self._numbers.get(one.point.token) for one in others}
        to_come = [TriedPoint(one, Knowledge.OPEN) for own, one in enumerate(first) if own not in {*theirs, number}]
        tried = [*map(searching.tried, found.points), *to_come]
        settings = suggestions.next_point(varied, tried, self.sweep.count, number)
        if settings is None:
            raise NoPointError("the search is over: every combination was tried")
        return settings

    def _is_sure(self, task: Task, settings: Settings) -> bool:
        """Whether the noted point is this task's. Waits for one that has noted the same and is to give way."""
        number, end = self._numbers.get(task.token, -1), time.monotonic() + _PATIENCE_SECONDS
        while True:
            same = [(self._numbers.get(other.token, -1), point) for other, point in self._noted()
                    if other.token != task.token and dict(point.settings) == dict(settings)]  # fmt: skip
            if any(point.is_settled or other < number for other, point in same):
                return False
            if not same or time.monotonic() > end:
                return True
            self.sleep(_LOOK_SECONDS)

    def _noted(self) -> list[tuple[Task, ChosenPoint]]:
        tasks = task_index.of_search(self.batches)
        return [(task, task.point) for _, task in tasks if task.point is not None]

    def _check(self, task: Task, point: ChosenPoint) -> Task:
        """The task with the record of its point. Notes why it is refused."""
        try:
            job = self.make(self.sweep, task.name, point.settings)
        except SetupError:  # not the point's fault
            raise
        except SdxlTrainError as error:
            task.note_point(task.name, replace(point, refused=str(error.problems[0])))
            raise
        return task.note_point(task.name, replace(point, is_checked=True, refused=None), job.record)

    @cached_property
    def _numbers(self) -> Mapping[str, int]:
        """The number of each element by its token, counted through all arrays of the search."""
        return {point.token: number for number, point in enumerate(self.sweep.points)}


def _chosen(one: FollowedPoint) -> ChosenPoint | None:
    return None if one.task is None else one.task.task.point
