"""Go on with searches from where jobs end: a job's own process, and the worker."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sdxl_train_cli.cluster.batch import Batch
from sdxl_train_cli.cluster.task_folder import Task
from sdxl_train_cli.commands import workspace
from sdxl_train_cli.errors import SdxlTrainError
from sdxl_train_cli.jobs.job import Job, Waiting
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.layout import Home
from sdxl_train_cli.records import record
from sdxl_train_cli.run import preparation
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.sweeps import cache_turn, progress, searching
from sdxl_train_cli.sweeps.choosing import ClusterSearch
from sdxl_train_cli.sweeps.searching import LagCheck, Searches
from sdxl_train_cli.sweeps.store import Sweeps
from sdxl_train_cli.sweeps.submitting import LocalQueue
from sdxl_train_cli.sweeps.sweep import Sweep
from sdxl_train_cli.ui import console


def go_on(where: Home) -> None:
    """Queue the next points of every search. What keeps it from that is told: it must not end a run or a worker."""
    queue = Queue(where.queue)
    searches = Searches(
        sweeps=Sweeps(where.sweeps),
        queue=queue,
        make=_maker(where),
        submit=LocalQueue(queue),
        say=console.note,
    )
    try:
        searches.go_on()
    except SdxlTrainError as error:
        console.warn(error.problems[0])


def search_of(where: Home, batch: Batch, task: Task) -> ClusterSearch:
    """The search that a cluster's task belongs to. UsageError where it was forgotten."""
    return ClusterSearch(Sweeps(where.sweeps).require(task.search), batch.group, _maker(where), console.note)


def _maker(where: Home) -> Callable[[Sweep, str, Mapping[str, str]], Waiting]:
    """What checks a further point of a search, and makes its job."""
    user_presets = workspace.user_presets()

    def prepare(choices: Choices) -> Prepared:
        return preparation.prepare(choices, where, user_presets)

    return lambda sweep, name, settings: searching.job_of(sweep, name, settings, prepare, user_presets)


@contextlib.contextmanager
def watched(where: Home, queue: Queue, job: Job) -> Iterator[Callable[[], str | None]]:
    """What is asked while a job's run trains: why to stop it early. Blocks while another run makes its caches."""
    sweeps = Sweeps(where.sweeps)
    sweep = sweeps.with_token(job.token)
    if sweep is None:
        yield lambda: None
        return
    lag = LagCheck(lambda: progress.follow(sweeps.require(sweep.name), queue), job.token)

    def ask() -> str | None:
        folder = queue.require(job.id).folder
        if folder is None:
            return None
        if _has_trained(folder):
            pass_on()
        return lag(folder) if sweep.prunes else None

    turn = cache_turn.taken(sweeps.folder / sweep.name, console.note) if sweep.shares_caches else None
    with turn or contextlib.nullcontext(lambda: None) as pass_on:
        yield ask


def _has_trained(folder: Path) -> bool:
    """Whether there is a step, so that the caches are made."""
    try:
        return (folder / record.METRICS).stat().st_size > 0
    except OSError:
        return False
