"""Hand a sweep's points over. What carries them out is behind one function, of this signature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sdxl_train_cli.jobs.job import Waiting
from sdxl_train_cli.jobs.store import Queue


class Submit(Protocol):
    """Takes all points, or none."""

    def __call__(self, points: Sequence[Waiting], *, at_once: int | None) -> None:
        """Hand them over. `at_once` is how many may run at a time; None leaves that open."""


@dataclass(frozen=True)
class LocalQueue:
    """This machine's queue, which runs one job on each GPU, however many are asked for at once."""

    queue: Queue

    def __call__(self, points: Sequence[Waiting], *, at_once: int | None = None) -> None:  # noqa: ARG002
        """Put all points at the end of the queue in one transaction: a kill leaves all of them there, or none."""
        if any(point.is_for_cluster for point in points):
            raise ValueError("this job is for a cluster")
        self.queue.add_all(points)
