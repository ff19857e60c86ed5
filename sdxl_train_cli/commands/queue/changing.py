"""`sdxl-train queue move`, `retry` and `rm`: change what waits."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Annotated

import typer

from sdxl_train_cli.commands import workspace
from sdxl_train_cli.commands.queue.listing import JobText, Json, what_next
from sdxl_train_cli.commands.workspace import HomeOption
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.jobs import worker
from sdxl_train_cli.jobs.job import Job, JobState
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.ui import console, printing

_FIRST, _LAST = "first", "last"

Place = Annotated[
    str, typer.Argument(metavar="PLACE", help="first, last, or a place: 1 starts next", show_default=False)
]
Texts = Annotated[list[str], typer.Argument(metavar="JOB", help="Numbers or names of jobs", show_default=False)]
Some = Annotated[list[str] | None, typer.Argument(metavar="JOB", help="Numbers or names of jobs", show_default=False)]
AllFailed = Annotated[bool, typer.Option("--failed", help="Every job that failed")]


def move(text: JobText, place: Place, as_json: Json = False, home: HomeOption = None) -> None:
    """Let a waiting job start earlier or later."""
    queue = Queue(workspace.home(home).queue)
    job = queue.find(text)
    if not queue.move(job.id, _place(place, len(queue.jobs(JobState.WAITING)))):
        raise UsageError(f"{job.words} is {job.state.value}, and only one that waits can be moved", what_next(job))
    order = [one.id for one in queue.jobs(JobState.WAITING)]
    now = order.index(job.id) + 1
    if as_json:
        printing.data({"job": job.id, "name": job.name, "place": now, "waiting": len(order)}, indent=None)
    console.note(f"{job.words} is number {now} of {len(order)} that wait")


def retry(texts: Some = None, failed: AllFailed = False, as_json: Json = False, home: HomeOption = None) -> None:
    """Let jobs that failed or were stopped run again, from their last state."""
    queue = Queue(workspace.home(home).queue)
    chosen = _found(queue, texts or (), queue.jobs(JobState.FAILED) if failed else ())
    if not chosen:
        hint = "`sdxl-train queue list` shows what there is" if failed else "sdxl-train queue retry JOB, or --failed"
        raise UsageError("no job failed" if failed else "no job is given", hint)
    for job in chosen:
        if job.state not in {JobState.FAILED, JobState.STOPPED}:
            raise UsageError(f"{job.words} is {job.state.value}, and can't be retried", what_next(job))
    for job in chosen:
        queue.retry(job.id)
        console.note(f"{job.words} waits again")
    if as_json:
        printing.data({"retried": _facts(chosen)}, indent=None)
    if not worker.is_working(queue):
        console.note("to work off the queue: sdxl-train queue start")


def rm(texts: Texts, as_json: Json = False, home: HomeOption = None) -> None:
    """Take jobs out of the queue. Their runs stay."""
    queue = Queue(workspace.home(home).queue)
    chosen = _found(queue, texts)
    for job in chosen:
        if job.state in {JobState.RUNNING, JobState.HANDING_OVER}:
            raise UsageError(f"{job.words} is {job.state.value}", what_next(job))
    for job in chosen:
        if not queue.remove(job.id):  # started since
            found = queue.require(job.id)
            raise UsageError(f"{found.words} is {found.state.value}", what_next(found))
        shutil.rmtree(queue.job_folder(job.id), ignore_errors=True)
        console.note(f"{job.words} is out of the queue")
    if as_json:
        printing.data({"removed": _facts(chosen)}, indent=None)


def _found(queue: Queue, texts: Sequence[str], more: Sequence[Job] = ()) -> list[Job]:
    """The jobs that were named, each once."""
    return list({job.id: job for job in (*map(queue.find, texts), *more)}.values())


def _facts(jobs: Sequence[Job]) -> list[dict[str, object]]:
    return [{"job": job.id, "name": job.name} for job in jobs]


def _place(text: str, waiting: int) -> int:
    """A place among those that wait, from 0."""
    if text in {_FIRST, _LAST}:
        return 0 if text == _FIRST else waiting
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"'{text}' is no place", "first, last, or a place: 1 starts next")
    return int(text) - 1
