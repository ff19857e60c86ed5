"""`sdxl-train sweep stop` and `rm`: end a sweep, or forget it."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence

from sdxl_train_cli import formatting
from sdxl_train_cli.cluster import overview, slurm
from sdxl_train_cli.cluster.overview import TaskState, TaskView
from sdxl_train_cli.commands import workspace
from sdxl_train_cli.commands.cluster import submission
from sdxl_train_cli.commands.sweep.listing import Json, SweepName
from sdxl_train_cli.commands.workspace import HomeOption
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.jobs import worker
from sdxl_train_cli.jobs.job import JobState
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.layout import Home
from sdxl_train_cli.sweeps.store import Sweeps
from sdxl_train_cli.sweeps.sweep import Sweep, Way
from sdxl_train_cli.ui import console, printing


def stop(name: SweepName, as_json: Json = False, home: HomeOption = None) -> None:
    """Stop what runs of a sweep, and remove what waits."""
    where = workspace.home(home)
    sweeps = Sweeps(where.sweeps)
    sweep = sweeps.require(name)
    if sweep.way is Way.SEARCH:  # first, so that it asks for no further point
        sweep = sweeps.change(name, lambda one: one.model_copy(update={"is_stopped": True}))
    tokens = [point.token for point in sweep.points]
    if sweep.on_slurm:
        done = _cancel(overview.with_tokens(where.cluster, tokens).values(), where)
    else:
        of_queue = _stop_jobs(Queue(where.queue), tokens)
        handed = overview.with_tokens(where.cluster, tokens).values()
        done = {**of_queue, **(_cancel(handed, where, is_whole=False) if handed else {})}
    if as_json:
        printing.data({"sweep": name, "removed": [], "stopping": [], "cancelled": [], **done}, indent=None)


def _cancel(views: Collection[TaskView], where: Home, *, is_whole: bool = True) -> Mapping[str, object]:
    """Cancel what a cluster has of a sweep. SlurmError where Slurm does not say what that is.

    `is_whole` is false for what the queue has handed over, perhaps in an array with other jobs.
    """
    slurm.jobs([view.job for view in views if view.state is TaskState.UNKNOWN])
    alive = [view for view in views if view.state.is_open]
    # Whole arrays, of which Slurm then knows the rest; the last first, as it waits for those before.
    numbers = sorted({view.job.partition("_")[0] for view in alive}, key=int)
    if numbers:
        slurm.cancel(*(reversed(numbers) if is_whole else [view.job for view in alive]))
    running = sum(view.state is TaskState.RUNNING for view in alive)
    console.note(f"cancelled {len(alive) - running} that waited and {running} that ran")
    for number in numbers:
        console.note(f"to go on with them: sdxl-train cluster retry {number}{submission.flag(where)}")
    return {"cancelled": [view.job for view in alive]}


def _stop_jobs(queue: Queue, tokens: Sequence[str]) -> Mapping[str, object]:
    jobs = queue.with_tokens(tokens).values()
    waiting = [job for job in jobs if job.state is JobState.WAITING and queue.remove(job.id)]
    running = [job for job in jobs if job.state is JobState.RUNNING and queue.ask_to_stop(job.id)]
    for job in waiting:
        shutil.rmtree(queue.job_folder(job.id), ignore_errors=True)
    stopped = f"{formatting.counted(len(running), 'run')} at the end of the step"
    console.note(
        f"removed {len(waiting)} that waited; stops {stopped}" if running else f"removed {len(waiting)} that waited"
    )
    if running and not worker.is_working(queue):
        console.note("no worker sees to that: press Ctrl-C where it runs, or type: sdxl-train queue start")
    return {"removed": [job.id for job in waiting], "stopping": [job.id for job in running]}


def rm(name: SweepName, as_json: Json = False, home: HomeOption = None) -> None:
    """Forget a sweep that has ended. Its runs stay."""
    where = workspace.home(home)
    sweeps, queue = Sweeps(where.sweeps), Queue(where.queue)
    with sweeps.changing():
        sweep = sweeps.require(name)
        going = _going(sweep, queue, where)
        if going:
            words = f"{formatting.counted(len(going), 'run')} of {name} still wait or run"
            raise UsageError(words, f"sdxl-train sweep stop {formatting.shell_word(name)}")
        sweeps.remove(name)
    if as_json:
        printing.data({"sweep": name, "output": str(sweep.output)}, indent=None)
    console.note(
        f"{name} is forgotten; its runs stay: sdxl-train runs list --output {formatting.shell_word(sweep.output)}"
    )


def _going(sweep: Sweep, queue: Queue, where: Home) -> Sequence[object]:
    """What of it waits or runs."""
    tokens = [point.token for point in sweep.points]
    there = [view for view in overview.with_tokens(where.cluster, tokens).values() if view.state.is_open]
    return [*there, *(job for job in queue.with_tokens(tokens).values() if not job.state.has_ended)]
