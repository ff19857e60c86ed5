"""Carry out one task on a node: a new run, or its own run resumed; and note how it ended."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from sdxl_train_cli import signals
from sdxl_train_cli.cluster.batch import Batch
from sdxl_train_cli.cluster.task_folder import Task, TaskEnd, TaskStart
from sdxl_train_cli.errors import SdxlTrainError, TrainingError, UsageError
from sdxl_train_cli.jobs import starting
from sdxl_train_cli.jobs.job import Job, JobState, KeptResume
from sdxl_train_cli.jobs.starting import JobActions, KeptJob
from sdxl_train_cli.records import metrics, run_owner
from sdxl_train_cli.records.history import RunState
from sdxl_train_cli.records.runs import Run
from sdxl_train_cli.run.training import PrunedError, StoppedError

MOST_STALLS = 5
"""A task that was started so often without a further step would end like this each time."""


class NoPointError(UsageError):
    """The search of a task has no point for it."""


def carry_out(
    batch: Batch, task: Task, user_presets: Path, actions: JobActions, with_point: Callable[[Task], Task] | None = None
) -> None:
    """Carry out a task and note how it ended. Raises what its run raises.

    `with_point` gives a task of a search its point.
    """
    task.folder.mkdir(exist_ok=True)
    with run_owner.hold(task.folder):
        try:
            _begin(batch, task, actions)
            task = task if with_point is None else with_point(task)
            again = "submit the training again"
            kept = KeptJob(task.kept, task.folder, again, saves_on_stop=True)
            if task.resume is None:
                starting.go_on(job_of(task), kept, user_presets, actions, task.note_run)
            else:
                _resume(task, task.resume, actions)
        except (StoppedError, signals.Stopped):
            raise  # Slurm knows why
        except (PrunedError, NoPointError) as error:
            task.note_end(TaskEnd(JobState.STOPPED, 0, error.problems[0].message))
            actions.say(error.problems[0].message)
            return
        except SdxlTrainError as error:
            task.note_end(TaskEnd(JobState.FAILED, error.exit_code, str(error.problems[0])))
            raise
        except Exception as error:
            task.note_end(TaskEnd(JobState.FAILED, 1, f"{type(error).__name__}: {error}"))
            raise
        task.note_end(TaskEnd(JobState.DONE, 0))


def _resume(task: Task, asked: KeptResume, actions: JobActions) -> None:
    """Resume a task's run, as somebody asked for it."""
    entry = starting.own_run(job_of(task))
    if entry is None:
        raise UsageError(f"{task.run} is no longer the run that was submitted", "sdxl-train runs list")
    entry = starting.after_its_trainer(entry)
    made = metrics.last_step(Run(entry.folder, entry.name).metrics) or 0
    if entry.state is not RunState.DONE or (asked.steps or 0) > made:
        actions.resume(entry, task.kept)


def job_of(task: Task) -> Job:
    """The task as a job of the queue, whose rules of starting and resuming it follows."""
    return Job(
        id=task.index, name=task.name, kind=task.kind, preset=task.preset, state=JobState.RUNNING,
        position=task.index, token=task.token, added=datetime.now(timezone.utc), folder=task.run,
    )  # fmt: skip


def _begin(batch: Batch, task: Task, actions: JobActions) -> None:
    """Note the start. TrainingError if earlier ones have come no further, so that it is not started for ever."""
    if not batch.jobs and "SLURM_JOB_ID" in os.environ:  # the submission was cut off before it was told the number
        batch.note_job(os.environ.get("SLURM_ARRAY_JOB_ID") or os.environ["SLURM_JOB_ID"])
    job, before = job_of(task), task.start
    if job.folder is not None:
        run_owner.forget_other_node(job.folder)
    step = starting.steps_of(job)
    stalls = 0 if before is None or step > before.step else before.stalls + 1
    if stalls >= MOST_STALLS:
        raise TrainingError(
            f"it was started {MOST_STALLS} times without coming past step {step}",
            f"look at {task.output}; then: sdxl-train cluster retry {batch.id_of(task) or 'JOB'}",
        )
    starts = 1 if before is None else before.starts + 1
    task.note_start(TaskStart(starts, step, stalls))
    if starts > 1:
        actions.say(f"start {starts} of this task")
