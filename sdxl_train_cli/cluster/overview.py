"""What has become of submitted trainings: what their folders say, and what Slurm says."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TypeVar

from sdxl_train_cli import files
from sdxl_train_cli.cluster import slurm, task_index
from sdxl_train_cli.cluster.batch import Batch
from sdxl_train_cli.cluster.slurm import SlurmError, SlurmJob
from sdxl_train_cli.cluster.task_folder import Task
from sdxl_train_cli.failures import known_failures
from sdxl_train_cli.jobs.job import JobState
from sdxl_train_cli.records import history
from sdxl_train_cli.records.history import ListedRun, RunState
from sdxl_train_cli.records.record import RunHeading

Front = TypeVar("Front", bound=RunHeading)
_CAUSES = {
    "TIMEOUT": "slurm-time",
    "DEADLINE": "slurm-time",
    "OUT_OF_MEMORY": "slurm-memory",
    "NODE_FAIL": "slurm-node",
    "BOOT_FAIL": "slurm-node",
    "PREEMPTED": "slurm-preempted",
    "CANCELLED": "slurm-cancelled",
}
"""Slurm's words for an end, and the failure that tells them to people."""
_ASKED = "its run was asked to stop"


class TaskState(str, Enum):
    """State of a task, as people are told."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    UNKNOWN = "unknown"
    """Slurm does not answer, or says nothing that would tell."""

    @property
    def is_open(self) -> bool:
        """Whether it may still change by itself."""
        return self in {TaskState.PENDING, TaskState.RUNNING}


@dataclass(frozen=True)
class TaskView:
    """A task and what is known of it."""

    batch: Batch
    task: Task
    job: str
    state: TaskState
    detail: str = ""
    """Why it waits, or why it failed."""
    node: str = ""
    remedy: str | None = None

    @property
    def words(self) -> str:
        """State and detail for a narrow column."""
        if self.state is TaskState.RUNNING and self.node:
            return f"running on {self.node}"
        return (
            f"{self.state.value} ({self.detail})"
            if self.state is TaskState.PENDING and self.detail
            else self.state.value
        )


def with_tokens(place: Path, tokens: Collection[str]) -> dict[str, TaskView]:
    """The tasks with these tokens, as far as they are there. Asks Slurm once, and not for none."""
    return {view.task.token: view for view in views(place, frozenset(tokens))} if tokens else {}


def views(place: Path, tokens: Collection[str] | None = None) -> list[TaskView]:
    """Every task below a home's cluster folder, or those with these tokens, the oldest first. Asks Slurm once."""
    found = task_index.each(place)
    return _views([(one, task) for one, task in found if tokens is None or task.token in tokens])


def waiting(place: Path) -> list[TaskView]:
    """What waits for a node. Asks Slurm once, and not for what has ended."""
    return [view for view in _views(list(task_index.each_open(place))) if view.state is TaskState.PENDING]


def _views(found: Sequence[tuple[Batch, Task]]) -> list[TaskView]:
    indices: dict[Batch, list[int]] = {}
    for one, task in found:
        indices.setdefault(one, []).append(task.index)
    ids = {one: one.ids(those) for one, those in indices.items()}
    each = [(one, task, ids[one].get(task.index, "")) for one, task in found]
    told = _told(sorted({job for _, task, job in each if task.end is None}))
    return [_view(one, task, job, told) for one, task, job in each]


def noted(batches: Sequence[Batch]) -> dict[str, TaskView]:
    """The tasks of a search by their tokens, as far as their folders tell. Slurm is not asked."""
    return {task.token: _view(one, task, "", None) for one, task in task_index.of_search(batches)}


def settle(entries: Sequence[ListedRun[Front]]) -> list[ListedRun[Front]]:
    """The runs, with what Slurm says of those that another node was last seen with."""
    told = _told(sorted({entry.slurm for entry in entries if entry.slurm is not None}))
    return [_settled(entry, told) for entry in entries]


def _told(ids: Sequence[str]) -> Mapping[str, SlurmJob] | None:
    """None if Slurm does not answer."""
    with contextlib.suppress(SlurmError):
        return slurm.jobs(ids)
    return None


def _settled(entry: ListedRun[Front], told: Mapping[str, SlurmJob] | None) -> ListedRun[Front]:
    if entry.slurm is None or told is None:
        return entry
    job = told.get(entry.slurm)
    if job is not None and job.state == "RUNNING":
        return replace(entry, state=RunState.RUNNING, problem=None)
    if job is None or not job.is_live or job.state == "PENDING":  # the record stays as the node has left it
        ended = entry.outcome and {state.value: state for state in RunState}.get(entry.outcome.outcome)
        return replace(entry, state=ended or RunState.INTERRUPTED, problem=None, slurm=None)
    return entry


def _view(one: Batch, task: Task, job: str, told: Mapping[str, SlurmJob] | None) -> TaskView:
    end = task.end
    if end is not None:
        states = {JobState.DONE: TaskState.DONE, JobState.STOPPED: TaskState.STOPPED}
        return TaskView(one, task, job, states.get(end.state, TaskState.FAILED), end.cause or "")
    if told is None:
        return TaskView(one, task, job, TaskState.UNKNOWN, "Slurm does not answer here")
    known = told.get(job)
    return _forgotten(one, task, job) if known is None else _known(one, task, known)


def _known(one: Batch, task: Task, known: SlurmJob) -> TaskView:
    """A task as Slurm has it, which has not noted an end."""
    if known.state in {"PENDING", "REQUEUED", "REQUEUE_HOLD"}:
        return TaskView(one, task, known.id, TaskState.PENDING, known.reason)
    if known.is_live:
        return TaskView(one, task, known.id, TaskState.RUNNING, node=known.node)
    name = _CAUSES.get(known.state)
    if name is None:
        return _unexplained(one, task, known)
    row = known_failures.by_name(name)
    state = TaskState.STOPPED if known.state in {"PREEMPTED", "CANCELLED"} else TaskState.FAILED
    return TaskView(one, task, known.id, state, row.cause, known.node, row.remedy)


def _unexplained(one: Batch, task: Task, known: SlurmJob) -> TaskView:
    """What Slurm calls failed or complete, where the task has not noted how it ended."""
    if known.state == "COMPLETED":  # a network drive may show its last file late
        why = "Slurm says that it is complete, and its folder does not say how it ended"
        return TaskView(one, task, known.id, TaskState.UNKNOWN, why, known.node)
    if _outcome(task) is RunState.STOPPED:  # also for a moment, while Slurm puts it back into its queue
        return TaskView(one, task, known.id, TaskState.STOPPED, _ASKED, known.node)
    return TaskView(one, task, known.id, TaskState.FAILED, f"Slurm says {known.state or 'nothing'}", known.node)


def _forgotten(one: Batch, task: Task, job: str) -> TaskView:
    """A task that neither waits nor runs, and of whose end Slurm no longer knows."""
    if _is_anothers(one):
        return TaskView(one, task, job, TaskState.UNKNOWN, "Slurm shows nothing of this other user's job")
    if task.start is not None:
        told = _outcome(task)
        ends = {RunState.DONE: TaskState.DONE, RunState.FAILED: TaskState.FAILED}
        state = TaskState.STOPPED if told is None else ends.get(told, TaskState.STOPPED)
        why = _ASKED if told is RunState.STOPPED else "it was cut off, and Slurm has forgotten why"
        return TaskView(one, task, job, state, why if state is TaskState.STOPPED else "")
    if files.is_file(task.output):
        return TaskView(one, task, job, TaskState.FAILED, "it ended before it began to train")
    return TaskView(one, task, job, TaskState.STOPPED, "it was cancelled before it started: Slurm no longer has it")


def _outcome(task: Task) -> RunState | None:
    """How a task's run ended by itself. None if it was cut off, or there is none."""
    entry = None if task.run is None else history.load(task.run)
    ended = None if entry is None or entry.outcome is None else entry.outcome.outcome
    return {state.value: state for state in RunState}.get(ended or "")


def _is_anothers(one: Batch) -> bool:
    """Whether another user has submitted it."""
    with contextlib.suppress(OSError):
        return hasattr(os, "getuid") and one.folder.stat().st_uid != os.getuid()
    return False
