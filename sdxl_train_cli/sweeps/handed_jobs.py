"""Choose which jobs of the queue a cluster is given, and which of them then make caches of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sdxl_train_cli.cluster import handing_over
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.jobs.job import Job
from sdxl_train_cli.records.record import Record
from sdxl_train_cli.sweeps import cache_turn, shared_caches
from sdxl_train_cli.sweeps.store import Sweeps
from sdxl_train_cli.sweeps.sweep import Sweep, Way


@dataclass(frozen=True)
class HandedJobs:
    """Waiting jobs as they are handed over."""

    jobs: tuple[Job, ...]
    kept: tuple[tuple[Job, str], ...]
    """What stays in the queue, and why."""
    apart: Mapping[str, str]
    """Tokens of jobs that make caches of their own, each with its sweep's name."""

    def changed(self, job: Job, record: Record) -> Record:
        """The record that a job is submitted with."""
        return shared_caches.in_memory(record) if job.token in self.apart else record


def choose(jobs: Sequence[Job], sweeps: Sweeps, node_gpu: Gpu | None, at_once: int | None) -> HandedJobs:
    """Which of the jobs are handed over. `node_gpu` is a node's, where it is known."""
    of_token = {point.token: sweep for sweep in sweeps.all() for point in sweep.points}
    told = [(job, why_kept(job, of_token.get(job.token), node_gpu)) for job in jobs]
    handed = tuple(job for job, why in told if why is None)
    swept = [(job.token, of_token[job.token]) for job in handed if job.token in of_token]
    apart = {token: sweep.name for token, sweep in swept if _needs_own_caches(sweep, sweeps, at_once)}
    return HandedJobs(handed, tuple((job, why) for job, why in told if why is not None), apart)


def why_kept(job: Job, sweep: Sweep | None, node_gpu: Gpu | None) -> str | None:
    """Why a job makes no sense on the cluster now. None if it does."""
    if sweep is not None and sweep.way is Way.SEARCH:
        return f"this queue chooses the next points of the search {sweep.name}"
    if node_gpu is not None and job.need_gib is not None and job.need_gib > node_gpu.free_gib:
        return f"it needs {job.need_gib:.1f} GB, and a node's GPU has {node_gpu.free_gib:.1f} GB free"
    return handing_over.why_not_now(job)


def _needs_own_caches(sweep: Sweep, sweeps: Sweeps, at_once: int | None) -> bool:
    """Whether runs that begin together would write the same caches: on a cluster none waits for another."""
    return sweep.shares_caches and at_once != 1 and not cache_turn.are_made(sweeps.folder / sweep.name)
