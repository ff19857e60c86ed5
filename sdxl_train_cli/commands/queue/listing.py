"""`sdxl-train queue list` and `log`: what the queue holds, and what its jobs print."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Annotated

import typer

from sdxl_train_cli import formatting
from sdxl_train_cli.commands import workspace
from sdxl_train_cli.commands.workspace import HomeOption
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.failures import log as trainer_log
from sdxl_train_cli.jobs import worker
from sdxl_train_cli.jobs.job import Job, JobState
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.records import metrics
from sdxl_train_cli.records.runs import Run
from sdxl_train_cli.ui import console, printing, wrapping

_MOST_ENDED = 10
_FOLLOW_SECONDS = 0.5
_WATCH_SECONDS = 2.0

JobText = Annotated[
    str, typer.Argument(metavar="JOB", help="Number or name from `sdxl-train queue list`", show_default=False)
]
All = Annotated[bool, typer.Option("--all", "-a", help=f"Every job that has ended, not only the last {_MOST_ENDED}")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Draw the list anew until Ctrl-C")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on printing until the job has ended")]


def list_(all_: All = False, watch: Watch = False, as_json: Json = False, home: HomeOption = None) -> None:
    """List the queue: what runs, what waits, what has ended."""
    queue = Queue(workspace.home(home).queue)
    if watch and as_json:
        raise UsageError("--watch draws a table, and --json prints once", "leave out one of them")
    if watch:
        console.redraw(lambda: _lines(queue.jobs(), is_whole=all_), _WATCH_SECONDS)
    jobs = queue.jobs()
    if as_json:
        printing.data([_facts(job) for job in jobs])
        return
    if not jobs:
        printing.err("the queue is empty; sdxl-train queue add lora ... puts a training into it")
        return
    printing.document("\n".join(_lines(jobs, is_whole=all_)))
    if not worker.is_working(queue) and any(not job.state.has_ended for job in jobs):
        printing.err("no worker: sdxl-train queue start")


def _lines(jobs: Sequence[Job], *, is_whole: bool) -> list[str]:
    """The queue as a table, without what has ended long ago."""
    ended = sorted((job for job in jobs if job.state.has_ended), key=lambda job: job.ended or job.added)
    hidden = {job.id for job in ended[: 0 if is_whole else max(0, len(ended) - _MOST_ENDED)]}
    headings = ("job", "name", "state", "kind", "preset", "gpu", "step", "time", "")
    more = [f"{formatting.counted(len(hidden), 'job')} ended earlier: --all"] if hidden else []
    return [*wrapping.aligned([headings, *(_row(job) for job in jobs if job.id not in hidden)]), *more]


def _row(job: Job) -> Sequence[str]:
    return (
        str(job.id), job.run_name, job.state.value, job.kind, job.preset, _place(job), _step(job), _spent(job),
        formatting.cut(job.cause or ""),
    )  # fmt: skip


def _place(job: Job) -> str:
    """The GPUs on which a job runs or ran, or those that it waits for. Nothing where any one will do."""
    if job.state is not JobState.WAITING:
        return ",".join(map(str, job.devices)) or "-"
    return ",".join(map(str, job.gpu_indices)) or ("" if job.gpus == 1 else f"any {job.gpus}")


def _step(job: Job) -> str:
    """How far a job has come, or from where it will be resumed. Nothing for one that begins at step 0."""
    if job.state is JobState.WAITING:
        return str(job.steps) if job.steps else ""
    if job.folder is None or job.state is JobState.DONE:
        return ""
    last = metrics.last_step(Run(job.folder, job.folder.name).metrics)
    return "" if last is None else str(last)


def _spent(job: Job) -> str:
    if job.started is None:
        return ""
    end = job.ended or (datetime.now(timezone.utc) if job.state is JobState.RUNNING else None)
    return "" if end is None else formatting.clock(max(0.0, (end - job.started).total_seconds()))


def _facts(job: Job) -> dict[str, object]:
    places = job.gpu_indices or job.devices
    return {
        "job": job.id, "name": job.name, "state": job.state.value, "kind": job.kind, "preset": job.preset,
        "gpu": places[0] if len(places) == 1 else None, "gpus": job.gpus, "gpu_indices": places,
        "need_gib": job.need_gib,
        "run": None if job.folder is None else str(job.folder), "starts": job.starts,
        "added": job.added.isoformat(), "started": _moment(job.started), "ended": _moment(job.ended),
        "exit_code": job.exit_code, "cause": job.cause,
    }  # fmt: skip


def _moment(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat()


def log(text: JobText, follow: Follow = False, home: HomeOption = None) -> None:
    """Print what a job has printed."""
    queue = Queue(workspace.home(home).queue)
    job = queue.find(text)
    path = queue.log(job.id)
    if not path.is_file():
        if job.folder is None:
            raise UsageError(f"{job.words} has not started yet", "sdxl-train queue start")
        shown = formatting.shell_word(job.folder)
        raise UsageError(f"{job.words} printed into the terminal that it ran in", f"sdxl-train runs show {shown}")
    with path.open("rb") as file:
        while True:
            has_ended = queue.require(job.id).state.has_ended
            for line in trainer_log.lines(file.read().decode(errors="replace")):
                printing.out(line)
            if has_ended or not follow:
                return
            time.sleep(_FOLLOW_SECONDS)


def what_next(job: Job) -> str:
    """What to type for a job that is not in the state that a command needs."""
    if job.state is JobState.DONE:
        run = "RUN" if job.folder is None else formatting.shell_word(job.folder)
        return f"to repeat it: sdxl-train queue add rerun {run}"
    return {
        JobState.WAITING: "sdxl-train queue start",
        JobState.RUNNING: f"to stop it: sdxl-train queue stop {job.id}",
        JobState.HANDING_OVER: "if that was cut off, the next one settles it: sdxl-train queue start --on slurm",
    }.get(job.state, f"to let it run again: sdxl-train queue retry {job.id}")
