"""`sdxl-train queue run`: carry out one job in this terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli.commands import train, values, workspace
from sdxl_train_cli.commands.queue.listing import JobText, what_next
from sdxl_train_cli.commands.runs import resume
from sdxl_train_cli.commands.runs.resume import ResumeRequest
from sdxl_train_cli.commands.workspace import HomeOption
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.jobs import starting
from sdxl_train_cli.jobs.job import Job, JobState
from sdxl_train_cli.jobs.starting import JobActions
from sdxl_train_cli.jobs.store import Kept, Queue
from sdxl_train_cli.layout import Home
from sdxl_train_cli.records import run_owner
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.run import guards, preparation
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.ui import console

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
        starting.carry_out(queue, job, workspace.user_presets(), _actions(where, job))


def _claimed(queue: Queue, number: int, gpu: int | None, claimed: int | None) -> Job:
    """The job, taken by this process. `claimed` is the start that the worker has taken it for."""
    if claimed is None:
        job = queue.claim(number, gpu)
        if job is None:
            found = queue.require(number)
            raise UsageError(f"{found.words} is {found.state.value}", what_next(found))
        return job
    job = queue.require(number)
    if (job.starts, job.state) != (claimed, JobState.RUNNING):
        raise starting.LostJobError(f"job {number} is no longer to be started here", "`sdxl-train queue list`")
    return job


def _actions(where: Home, job: Job) -> JobActions:
    def start(choices: Choices, kept: Kept, note_folder: Callable[[Path], None]) -> None:
        prepared = preparation.prepare(choices, where, workspace.user_presets())
        off = guards.parse(list(kept.guards_off))
        train.launch(prepared, where, off, step_downs=kept.step_downs, note_folder=note_folder)

    def go_on(entry: Loaded, kept: Kept) -> None:
        off = guards.parse(list(kept.guards_off))
        asked = ResumeRequest(
            guards_off=off, step_downs=kept.step_downs, gpu_indices=None if job.device is None else (job.device,)
        )
        resume.launch(entry, where, asked)

    return JobActions(start, go_on, console.note)
