"""Go on with searches from where jobs end: a job's own process, and the worker."""

from __future__ import annotations

from sdxl_train_cli.commands import workspace
from sdxl_train_cli.errors import SdxlTrainError
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.layout import Home
from sdxl_train_cli.run import preparation
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.sweeps import searching
from sdxl_train_cli.sweeps.searching import LagCheck, Searches
from sdxl_train_cli.sweeps.store import Sweeps
from sdxl_train_cli.sweeps.submitting import LocalQueue
from sdxl_train_cli.ui import console


def go_on(where: Home) -> None:
    """Queue the next points of every search. What keeps it from that is told: it must not end a run or a worker."""
    queue, user_presets = Queue(where.queue), workspace.user_presets()

    def prepare(choices: Choices) -> Prepared:
        return preparation.prepare(choices, where, user_presets)

    searches = Searches(
        sweeps=Sweeps(where.sweeps),
        queue=queue,
        make=lambda sweep, name, settings: searching.job_of(sweep, name, settings, prepare, user_presets),
        submit=LocalQueue(queue),
        say=console.note,
    )
    try:
        searches.go_on()
    except SdxlTrainError as error:
        console.warn(error.problems[0])


def lag_check(where: Home, token: str) -> LagCheck:
    """What stops a job's run early where its search has better points."""
    return LagCheck(Sweeps(where.sweeps), Queue(where.queue), token)
