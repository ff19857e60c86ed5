"""`sdxl-train queue start --on slurm`: hand what waits to a cluster, whose jobs they are from then on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from sdxl_train_cli import formatting
from sdxl_train_cli.cluster import handing_over, settings
from sdxl_train_cli.cluster.handing_over import HandedShare
from sdxl_train_cli.cluster.submitting import SlurmEngine
from sdxl_train_cli.commands import values, workspace
from sdxl_train_cli.commands.cluster import submission
from sdxl_train_cli.commands.cluster.submission import Engine
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.jobs.job import JobState
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.layout import Home
from sdxl_train_cli.sweeps import handed_jobs
from sdxl_train_cli.sweeps.store import Sweeps
from sdxl_train_cli.ui import console, printing

OnCluster = Annotated[
    Engine | None,
    values.one_of("--on", Engine, about="Hand all that waits to a cluster that `sdxl-train cluster init` has set up"),
]
AtOnce = Annotated[
    int | None,
    values.whole("--at-once", metavar="RUNS", about="Runs of each array at a time, on a cluster [default: no limit]"),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="With --on: print the scripts and submit nothing")]


def refuse_local_flags(flags: Sequence[str]) -> None:
    """UsageError for flags of this computer's GPUs."""
    if flags:
        raise UsageError(f"{flags[0]} is for this computer's GPUs, and a cluster chooses its own", f"omit {flags[0]}")


def settle(queue: Queue, where: Home) -> None:
    """Settle a hand-over that was cut off, as far as that can be done now. What is left waits for the next start."""
    problem = handing_over.settle_now(queue, where.cluster)
    if problem is not None:
        console.warn(problem)


def hand_over(on: Engine, at_once: int | None, home: str | None, *, dry_run: bool) -> None:
    """Submit every job that waits, or print the scripts."""
    engine = SlurmEngine(submission.home_of(on, home), settings.load(os.environ))
    queue = Queue(engine.home.queue)
    if dry_run:
        for share in _shares(queue, engine, at_once):
            for text in share.engine.scripts(share.points, at_once):
                printing.document(text.rstrip("\n"))
        return
    with handing_over.holding(queue):
        handing_over.settle(queue, engine.home.cluster)
        handing_over.put_back_cut_off(queue)
        found = _shares(queue, engine, at_once)
        if not found:
            console.note(f"nothing is handed over: {_where_else(queue)}")
        for share in found:
            done = handing_over.hand_over(queue, share, at_once)
            for number in done.numbers:
                printing.out(number)
            if done.count:
                count = formatting.counted(done.count, "job")
                console.note(f"{count} handed over; to see them: sdxl-train cluster list{submission.flag(engine.home)}")


def _where_else(queue: Queue) -> str:
    """Why there is nothing to hand over: the queue may stand in another home than the cluster's."""
    usual = workspace.home(None)
    other = Queue(usual.queue)
    stays = bool(queue.jobs(JobState.WAITING))
    if stays or usual.queue == queue.folder or not other.jobs(JobState.WAITING):
        return f"no {'other ' if stays else ''}job waits in {queue.folder}"
    shown = formatting.shell_word(usual.path)
    return f"the jobs wait in another home; if nodes see that one: sdxl-train queue start --on slurm --home {shown}"


def _shares(queue: Queue, engine: SlurmEngine, at_once: int | None) -> list[HandedShare]:
    """What is handed over, in the queue's order. What stays is told, and what is changed."""
    waiting, node_gpu = handing_over.waiting(queue), engine.settings.node_gpu
    found = handed_jobs.choose(waiting, Sweeps(engine.home.sweeps), node_gpu, at_once)
    for job, why in found.kept:
        console.note(f"{job.words} stays in the queue: {why}")
    for name in sorted(set(found.apart.values())):
        console.note(f"runs of the sweep {name} make caches of their own: on a cluster none waits for another")
    return handing_over.shares(queue, found.jobs, engine, found.changed, console.note)
