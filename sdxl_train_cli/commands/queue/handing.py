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
from sdxl_train_cli.errors import SdxlTrainError, UsageError
from sdxl_train_cli.jobs.job import Job, JobState
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.layout import Home
from sdxl_train_cli.records.record import Record
from sdxl_train_cli.sweeps import cache_turn, shared_caches
from sdxl_train_cli.sweeps.store import Sweeps
from sdxl_train_cli.sweeps.sweep import Sweep, Way
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


def require_alone(flags: Sequence[str]) -> None:
    """UsageError for flags of this computer's GPUs."""
    if flags:
        raise UsageError(f"{flags[0]} is for this computer's GPUs, and a cluster chooses its own", f"omit {flags[0]}")


def settle(queue: Queue, where: Home) -> None:
    """Settle a hand-over that was cut off, as far as that can be done now. What is left waits for the next start."""
    if not queue.jobs(JobState.HANDING_OVER):
        return
    try:
        with handing_over.holding(queue):
            handing_over.settle(queue, where.cluster)
    except SdxlTrainError as error:
        console.warn(error.problems[0])


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
    sweeps = Sweeps(engine.home.sweeps)
    of_token = {point.token: sweep for sweep in sweeps.all() for point in sweep.points}
    jobs = [job for job in handing_over.waiting(queue) if not _stays(job, of_token.get(job.token), engine)]
    apart = {
        job.token
        for job in jobs
        if (sweep := of_token.get(job.token)) is not None
        and sweep.shares_caches and at_once != 1 and not cache_turn.are_made(sweeps.folder / sweep.name)
    }  # fmt: skip
    for name in sorted({of_token[token].name for token in apart}):
        console.note(f"runs of the sweep {name} make caches of their own: on a cluster none waits for another")

    def changed(job: Job, record: Record) -> Record:
        return shared_caches.in_memory(record) if job.token in apart else record

    return handing_over.shares(queue, jobs, engine, changed, console.note)


def _stays(job: Job, sweep: Sweep | None, engine: SlurmEngine) -> bool:
    """Whether a job makes no sense on the cluster now, which is told."""
    gpu, why = engine.settings.node_gpu, handing_over.why_not_now(job)
    if sweep is not None and sweep.way is Way.SEARCH:
        why = f"this queue chooses the next points of the search {sweep.name}"
    elif gpu is not None and job.need_gib is not None and job.need_gib > gpu.free_gib:
        why = f"it needs {job.need_gib:.1f} GB, and a node's GPU has {gpu.free_gib:.1f} GB free"
    if why is not None:
        console.note(f"{job.words} stays in the queue: {why}")
    return why is not None
