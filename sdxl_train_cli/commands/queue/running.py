"""`sdxl-train queue run`: carry out one job in this terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from sdxl_train_cli import formatting
from sdxl_train_cli.commands import train, values, workspace
from sdxl_train_cli.commands.queue.listing import JobText, what_next
from sdxl_train_cli.commands.runs import resume
from sdxl_train_cli.commands.runs.resume import ResumeRequest
from sdxl_train_cli.commands.sweep import continuing
from sdxl_train_cli.commands.workspace import HomeOption
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.jobs import starting
from sdxl_train_cli.jobs.job import Job, JobState
from sdxl_train_cli.jobs.starting import JobActions
from sdxl_train_cli.jobs.store import Kept, Queue
from sdxl_train_cli.layout import Home
from sdxl_train_cli.records import run_owner
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.records.runs import FolderTakenError
from sdxl_train_cli.run import guards, preparation, several_gpus
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.ui import console

_TRIES = 8
"""As many jobs of one name may start in the same moment."""

GpuIndices = Annotated[  # typer takes no tuple of any length
    Any, values.gpu_indices("Numbers of the GPUs to train on [default: those with most free memory]")
]
Claimed = Annotated[int | None, typer.Option("--claimed", metavar="START", hidden=True)]


def run(text: JobText, gpu: GpuIndices = None, claimed: Claimed = None, home: HomeOption = None) -> None:
    """Carry out one job now, in this terminal."""
    where = workspace.home(home)
    queue = Queue(where.queue)
    number = queue.find(text).id
    folder = queue.job_folder(number)
    folder.mkdir(parents=True, exist_ok=True)
    with run_owner.hold(folder) as lock, run_owner.read_noted(folder, lock):
        job = _claimed(queue, number, gpu, claimed)
        try:
            starting.carry_out(queue, job, workspace.user_presets(), _actions(where, queue, job))
        finally:
            if queue.require(number).state.has_ended:
                continuing.go_on(where)


def _claimed(queue: Queue, number: int, gpus: tuple[int, ...] | None, claimed: int | None) -> Job:
    """The job, taken by this process. `claimed` is the start that the worker has taken it for."""
    if claimed is None:
        job = queue.claim(number, _devices(queue.require(number), gpus or ()))
        if job is None:
            found = queue.require(number)
            raise UsageError(f"{found.words} is {found.state.value}", what_next(found))
        return job
    job = queue.require(number)
    if (job.starts, job.state) != (claimed, JobState.RUNNING):
        raise starting.LostJobError(f"job {number} is no longer to be started here", "`sdxl-train queue list`")
    return job


def _devices(job: Job, typed: tuple[int, ...]) -> tuple[int, ...]:
    """The GPUs that are noted as taken, so that a worker starts nothing else on them: typed, the job's, or the freest.

    UsageError if they are not as many as the job needs.
    """
    if typed and len(typed) != job.gpus:
        needs = formatting.counted(job.gpus, "GPU")
        hint = "--gpu 0" if job.gpus == 1 else f"as many, such as --gpu {','.join(map(str, range(job.gpus)))}"
        raise UsageError(f"{job.words} needs {needs}, and --gpu names {len(typed)}", hint)
    wanted = typed or job.gpu_indices
    if job.gpus > 1:
        return tuple(device.index for device in several_gpus.freest(job.gpus, wanted))
    freest = None if wanted else preparation.choose_device(None)
    return wanted if freest is None else (freest.index,)


def _actions(where: Home, queue: Queue, job: Job) -> JobActions:
    def start(choices: Choices, kept: Kept, note_folder: Callable[[Path], None]) -> None:
        off = guards.parse(list(kept.guards_off))
        with continuing.watched(where, queue, job) as ends_early:
            for left in reversed(range(_TRIES)):
                prepared = preparation.prepare(choices, where, workspace.user_presets())
                prepared = replace(prepared, ends_early=ends_early)
                try:
                    train.launch(prepared, where, off, step_downs=kept.step_downs, note_folder=note_folder)
                except FolderTakenError:  # by a job of the same name on another GPU
                    if not left:
                        raise
                else:
                    return

    def go_on(entry: Loaded, kept: Kept) -> None:
        with continuing.watched(where, queue, job) as ends_early:
            asked = ResumeRequest(
                guards_off=guards.parse(list(kept.guards_off)),
                step_downs=kept.step_downs,
                gpu_indices=job.devices or None,
                ends_early=ends_early,
            )
            resume.launch(entry, where, asked)

    return JobActions(start, go_on, console.note)
