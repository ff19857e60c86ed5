"""`sdxl-train queue start` and `stop`: work off the queue, or stop that."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Collection
from typing import Annotated

import typer

from sdxl_train_cli import formatting, signals
from sdxl_train_cli.commands import workspace
from sdxl_train_cli.commands.queue import handing_over
from sdxl_train_cli.commands.queue.handing_over import AtOnce, DryRun, OnCluster
from sdxl_train_cli.commands.queue.listing import Json, what_next
from sdxl_train_cli.commands.sweep import continuing
from sdxl_train_cli.commands.workspace import HomeOption
from sdxl_train_cli.environment import environment
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.jobs import worker
from sdxl_train_cli.jobs.job import Job, JobState
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.jobs.worker import Worker, WorkerOptions
from sdxl_train_cli.layout import Home
from sdxl_train_cli.ui import console, printing

_MOST_NAMED = 8

Gpus = Annotated[
    str | None, typer.Option("--gpu", metavar="INDEX,...", help="Numbers of the GPUs to use [default: all]")
]
Share = Annotated[bool, typer.Option("--share", help="Run several jobs on a GPU whose memory is enough for them")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for further jobs instead of ending when none is left")]
Some = Annotated[
    str | None,
    typer.Argument(metavar="[JOB]", help="Number or name of a job [default: the worker]", show_default=False),
]


def start(
    gpu: Gpus = None, share: Share = False, wait: Wait = False, on: OnCluster = None, at_once: AtOnce = None,
    dry_run: DryRun = False, home: HomeOption = None,
) -> None:  # fmt: skip
    """Work off the queue: one job on each GPU, until none is left. Or hand what waits to a cluster."""
    if on is not None:
        given = {"--gpu": gpu is not None, "--share": share, "--wait": wait}
        handing_over.refuse_local_flags([flag for flag, is_given in given.items() if is_given])
        handing_over.hand_over(on, at_once, home, dry_run=dry_run)
        return
    if at_once is not None or dry_run:
        words = f"{'--dry-run' if dry_run else '--at-once'} is for a cluster, and this computer starts the jobs itself"
        raise UsageError(words, "add --on slurm, or leave it out")
    where = workspace.home(home)
    environment.require(where)
    queue = Queue(where.queue)
    handing_over.settle(queue, where)
    options = WorkerOptions(_indices(gpu), shares=share, waits=wait)
    _outlive_the_terminal()
    with worker.holding(queue):
        before = {(job.id, job.starts) for job in queue.jobs() if job.state.has_ended}
        working = Worker(queue, options, lambda job: _argv(where, job), console.note,
                         refill=lambda: continuing.go_on(where))  # fmt: skip
        try:
            working.work()
        except signals.Stopped:
            console.note("stopping the runs at the end of their steps; the next start goes on from their last states")
            with contextlib.suppress(signals.Stopped):  # a second Ctrl-C leaves them to themselves
                working.stop()
            raise
    _tell_end(queue, before, working)


def stop(text: Some = None, as_json: Json = False, home: HomeOption = None) -> None:
    """Stop a job, or the worker with all that runs; what was stopped can be resumed."""
    queue = Queue(workspace.home(home).queue)
    if text is not None:
        job = queue.find(text)
        if not queue.ask_to_stop(job.id):
            raise UsageError(f"{job.words} is {job.state.value}", what_next(job))
        is_over = job.state is not JobState.RUNNING
        if as_json:
            printing.data({"job": job.id, "name": job.name, "state": "stopped" if is_over else "stopping"}, indent=None)
        if is_over:
            console.note(f"{job.words} is stopped; to let it wait again: sdxl-train queue retry {job.id}")
        elif worker.is_working(queue):
            console.note(f"{job.words} stops at the end of its step")
        else:
            console.note("no worker sees to that: press Ctrl-C where the job runs, or type: sdxl-train queue start")
        return
    if not worker.is_working(queue):
        raise UsageError("no worker is working on the queue", "sdxl-train queue start")
    running = [job.id for job in queue.jobs(JobState.RUNNING)]
    queue.ask_to_end(wanted=True)
    if as_json:
        printing.data({"stopping": running}, indent=None)
    console.note("the worker stops its runs at the end of their steps; `sdxl-train queue start` goes on with them")


def _argv(where: Home, job: Job) -> list[str]:
    device = ["--gpu", ",".join(map(str, job.devices))] if job.devices else []
    return worker.own_argv(
        "queue", "run", str(job.id), "--claimed", str(job.starts), "--home", str(where.path), *device
    )


def _indices(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words):
        raise UsageError(f"--gpu {formatting.cut(text)} names no GPUs", "--gpu 0 or --gpu 0,1")
    return tuple(dict.fromkeys(map(int, words)))


def _outlive_the_terminal() -> None:
    """Go on when the terminal is closed: a night's work must not depend on it."""
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None:
        signal.signal(hangup, signal.SIG_IGN)


def _tell_end(queue: Queue, before: Collection[tuple[int, int]], working: Worker) -> None:
    """Say what is left and why, and what has failed since. `before` are the starts that had ended when it began."""
    jobs = queue.jobs()
    left = [job for job in jobs if not job.state.has_ended]
    ended = [job for job in jobs if job.state.has_ended and (job.id, job.starts) not in before]
    counts = {state: sum(job.state is state for job in ended) for state in JobState}
    told = ", ".join(f"{count} {state.value}" for state, count in counts.items() if count)
    console.note(f"{f'{len(left)} left' if left else 'nothing is left to do'}: {told or 'no job has ended'}")
    for job in left[:_MOST_NAMED]:
        why = working.obstacle(job) if job.state is JobState.WAITING else None
        what = {JobState.HANDING_OVER: "is being handed over", JobState.RUNNING: "still runs"}.get(job.state, "waits")
        console.note(f"  {job.words} {what}{f': it {why}' if why else ''}")
    if len(left) > _MOST_NAMED:
        console.note(f"  and {len(left) - _MOST_NAMED} more: sdxl-train queue list")
    for job in ended:
        if job.state is JobState.FAILED:
            printing.err(f"  {job.words} failed; why: sdxl-train queue log {job.id}")
