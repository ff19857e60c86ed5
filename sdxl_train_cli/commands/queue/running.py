"""`sdxl-train queue run`: carry out one job in this terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

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
from sdxl_train_cli.run import guards, preparation
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.ui import console

_TRIES = 8
"""As many jobs of one name may start in the same moment."""

GpuIndex = Annotated[int | None, values.gpu_index("Number of the GPU to train on [default: the freest]")]
Claimed = Annotated[int | None, typer.Option("--claimed", metavar="START", hidden=True)]


def run(text: JobText, gpu: GpuIndex = None, claimed: Claimed = None, home: HomeOption = None) -> None:
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


def _claimed(queue: Queue, number: int, gpu: int | None, claimed: int | None) -> Job:
    """The job, taken by this process. `claimed` is the start that the worker has taken it for."""
    if claimed is None:
        job = queue.claim(number, _device(queue.require(number), gpu))
        if job is None:
            found = queue.require(number)
            raise UsageError(f"{found.words} is {found.state.value}", what_next(found))
        return job
    job = queue.require(number)
    if (job.starts, job.state) != (claimed, JobState.RUNNING):
        raise starting.LostJobError(f"job {number} is no longer to be started here", "`sdxl-train queue list`")
    return job


def _device(job: Job, typed: int | None) -> int | None:
    """The GPU that is noted as taken, so that a worker starts nothing else on it: typed, the job's, or the freest."""
    wanted = job.gpu_index if typed is None else typed
    if wanted is not None:
        return wanted
    freest = preparation.choose_device(None)
    return None if freest is None else freest.index


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
                gpu_indices=None if job.device is None else (job.device,),
                ends_early=ends_early,
            )
            resume.launch(entry, where, asked)

    return JobActions(start, go_on, console.note)
