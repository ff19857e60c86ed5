"""The tasks of all batches. One that has ended is read once: then its end.json alone is asked whether it is as it was.

A task that is started again removes its end.json before anything else, so that what is remembered of it no longer
counts.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdxl_train_cli.cluster import batch
from sdxl_train_cli.cluster.batch import Batch, Task, TaskEnd, TaskStart
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.jobs.job import JobState
from sdxl_train_cli.records import ended_index
from sdxl_train_cli.records.ended_index import Ended

_WHAT = "task"


@dataclass(frozen=True, kw_only=True)
class EndedTask(Task):
    """A task as it was read after its end, without its record: it is not started from here."""

    last_end: TaskEnd
    last_start: TaskStart | None
    last_run: str | None
    """A path, unparsed: there may be thousands."""

    @property
    def end(self) -> TaskEnd:
        """How it ended."""
        return self.last_end

    @property
    def start(self) -> TaskStart | None:
        """Its last start."""
        return self.last_start

    @property
    def run(self) -> Path | None:
        """Its run's folder."""
        return None if self.last_run is None else Path(self.last_run)


def each(place: Path) -> list[tuple[Batch, Task]]:
    """Every task below a home's cluster folder, the oldest first."""
    known, fresh, found = ended_index.load(place, _WHAT), list[Ended](), list[tuple[Batch, Task]]()
    gone = set(known)
    for one in batch.all_in(place):
        for index in one.indices():
            name = f"{one.folder.name}/{index}"
            stamp = _stamp(one, index)
            row = known.get(name)
            gone.discard(name)
            task: Task | None = _parse(one, index, row) if row is not None and row.stamp == stamp else None
            if task is None:
                task = one.listed_task(index)
                end = task.end
                if stamp is not None and end is not None and task.token:
                    fresh.append(Ended(name, stamp, _facts(task, end)))
            found.append((one, task))
    if fresh or gone:
        ended_index.keep(place, fresh, gone, what=_WHAT)
    return found


def each_open(place: Path) -> Iterator[tuple[Batch, Task]]:
    """The tasks that have not ended. Of the others, nothing is read."""
    for one in batch.all_in(place):
        for index in one.indices():
            if _stamp(one, index) is None:
                yield one, one.listed_task(index)


def _stamp(one: Batch, index: int) -> str | None:
    """The state of a task's end. None before it."""
    with contextlib.suppress(OSError):
        return ended_index.stamp(os.stat(batch.end_file(one, index)))  # noqa: PTH116 - thousands of them
    return None


def _facts(task: Task, end: TaskEnd) -> list[object]:
    start, run = task.start, task.run
    return [batch.task_facts(task), [end.state.value, end.exit_code, end.cause],
            None if start is None else list(vars(start).values()), None if run is None else str(run)]  # fmt: skip


def _parse(one: Batch, index: int, row: Ended) -> EndedTask | None:
    """What is remembered of a task. None if it can't be read."""
    facts: list[Any] = list(row.facts)
    with contextlib.suppress(ValueError, TypeError, UsageError):
        told, (state, code, cause), start, run = facts
        task = batch.parse_task(one.folder / "tasks" / str(index), told)
        return EndedTask(
            **vars(task), last_end=TaskEnd(JobState(state), code, cause),
            last_start=None if start is None else TaskStart(*start), last_run=run,
        )  # fmt: skip
    return None
