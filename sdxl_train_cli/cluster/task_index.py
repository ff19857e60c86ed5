"""The tasks of all batches. One that has ended is read once: then its end.json alone is asked whether it is as it was.

A task that is started again removes its end.json before anything else, so that what is remembered of it no longer
counts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdxl_train_cli.cluster import batch, task_folder
from sdxl_train_cli.cluster.batch import Batch
from sdxl_train_cli.cluster.task_folder import Task, TaskEnd, TaskStart
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
    return _of(place, batch.all_in(place))


def of_search(batches: Sequence[Batch]) -> list[tuple[Batch, Task]]:
    """Every task of a search's batches, for another one that must not choose the same point.

    A network drive may show for a minute an end that was removed. Believed is only what no further start changes: a
    settled point.
    """
    found = _of(batches[0].folder.parent, batches) if batches else []
    return [(one, task if _is_final(task) else one.listed_task(task.index)) for one, task in found]


def _is_final(task: Task) -> bool:
    is_read_now = not isinstance(task, EndedTask)
    return is_read_now or (task.point is not None and task.point.is_settled)


def _of(place: Path, batches: Sequence[Batch]) -> list[tuple[Batch, Task]]:
    at = {f"{one.folder.name}/{index}": (one, index) for one in batches for index in one.indices()}
    found = ended_index.remembered(
        place, _WHAT, ((name, _stamp(*there)) for name, there in at.items()),
        lambda name: Batch.listed_task(*at[name]), _facts, lambda row: _parse(*at[row.name], row),
    )  # fmt: skip
    return [(at[name][0], task) for name, task in found.items()]


def each_open(place: Path) -> Iterator[tuple[Batch, Task]]:
    """The tasks that have not ended. Of the others, nothing is read."""
    for one in batch.all_in(place):
        for index in one.indices():
            if _stamp(one, index) is None:
                yield one, one.listed_task(index)


def _stamp(one: Batch, index: int) -> str | None:
    """The state of a task's end. None before it."""
    try:
        return ended_index.stamp(os.stat(batch.end_file(one, index)))  # noqa: PTH116 - thousands of them
    except OSError:
        return None


def _facts(task: Task) -> list[object] | None:
    end, start, run = task.end, task.start, task.run
    if end is None or not task.token:
        return None
    return [task_folder.facts(task), [end.state.value, end.exit_code, end.cause],
            None if start is None else list(vars(start).values()), None if run is None else str(run)]  # fmt: skip


def _parse(one: Batch, index: int, row: Ended) -> EndedTask:
    facts: list[Any] = list(row.facts)
    told, (state, code, cause), start, run = facts
    task = task_folder.parse(one.folder / "tasks" / str(index), told)
    return EndedTask(
        **vars(task), last_end=TaskEnd(JobState(state), code, cause),
        last_start=None if start is None else TaskStart(*start), last_run=run,
    )  # fmt: skip
