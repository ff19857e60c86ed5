"""`sdxl-train queue move`, `retry` and `rm`: change what waits."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from sdxl_train_cli.commands import workspace
from sdxl_train_cli.commands.queue.listing import JobNumber
from sdxl_train_cli.commands.workspace import HomeOption
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.jobs import worker
from sdxl_train_cli.jobs.job import JobState
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.ui import console

_FIRST, _LAST = "first", "last"

Place = Annotated[
    str, typer.Argument(metavar="PLACE", help="first, last, or a place: 1 starts next", show_default=False)
]
Numbers = Annotated[list[int], typer.Argument(metavar="JOB...", help="Numbers of jobs", show_default=False)]
Some = Annotated[list[int] | None, typer.Argument(metavar="[JOB...]", help="Numbers of jobs", show_default=False)]
AllFailed = Annotated[bool, typer.Option("--failed", help="Every job that failed")]


def move(number: JobNumber, place: Place, home: HomeOption = None) -> None:
    """Let a waiting job start earlier or later."""
    queue = Queue(workspace.home(home).queue)
    job = queue.require(number)
    if not queue.move(number, _place(place, len(queue.jobs(JobState.WAITING)))):
        raise UsageError(f"job {number} is {job.state.value}, and only one that waits can be moved",
                         "`sdxl-train queue list` shows what waits")  # fmt: skip


def retry(numbers: Some = None, failed: AllFailed = False, home: HomeOption = None) -> None:
    """Let jobs that failed or were stopped run again, from their last state."""
    queue = Queue(workspace.home(home).queue)
    chosen = list(numbers or ()) + ([job.id for job in queue.jobs(JobState.FAILED)] if failed else [])
    if not chosen:
        raise UsageError(
            "no job is given" if not failed else "no job failed", "sdxl-train queue retry JOB, or --failed"
        )
    states = {number: queue.require(number).state for number in chosen}
    for number, state in states.items():
        if not queue.retry(number):
            raise UsageError(f"job {number} is {state.value}", "only one that failed or was stopped runs again")
    if not worker.is_working(queue):
        console.note("to work off the queue: sdxl-train queue start")


def rm(numbers: Numbers, home: HomeOption = None) -> None:
    """Take jobs out of the queue. Their runs stay."""
    queue = Queue(workspace.home(home).queue)
    for job in [queue.require(number) for number in numbers]:
        if not queue.remove(job.id):
            raise UsageError(f"job {job.id} is running", f"stop it first: sdxl-train queue stop {job.id}")
        shutil.rmtree(queue.job_folder(job.id), ignore_errors=True)


def _place(text: str, waiting: int) -> int:
    """A place among those that wait, from 0."""
    if text in {_FIRST, _LAST}:
        return 0 if text == _FIRST else waiting
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"'{text}' is no place", "first, last, or a place: 1 starts next")
    return int(text) - 1
