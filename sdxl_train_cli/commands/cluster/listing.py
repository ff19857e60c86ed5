"""`sdxl-train cluster list` and `retry`: what was submitted, and let it run again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from sdxl_train_cli import formatting
from sdxl_train_cli.cluster import overview, submitting
from sdxl_train_cli.cluster.overview import TaskState, TaskView
from sdxl_train_cli.commands import workspace
from sdxl_train_cli.commands.workspace import HomeOption
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.records import metrics
from sdxl_train_cli.records.runs import Run
from sdxl_train_cli.ui import console, printing, wrapping

_MOST_ENDED = 10
_WATCH_SECONDS = 5.0
"""Slurm's controllers ask to be spared."""

All = Annotated[bool, typer.Option("--all", "-a", help=f"Everything that has ended, not only the last {_MOST_ENDED}")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Draw the list anew every few seconds until Ctrl-C")]
Job = Annotated[str, typer.Argument(metavar="JOB", help="Number of a job, or of one element: 12 or 12_3",
                                    show_default=False)]  # fmt: skip


def list_(all_: All = False, as_json: Json = False, watch: Watch = False, home: HomeOption = None) -> None:
    """List what was submitted to Slurm: what waits and why, what runs where, what has ended."""
    place = workspace.home(home).cluster
    if watch and as_json:
        raise UsageError("--watch draws a table, and --json prints once", "leave out one of them")
    if watch:
        console.redraw(lambda: _lines(_shown(overview.views(place), is_whole=all_)), _WATCH_SECONDS)
    views = overview.views(place)
    if as_json:
        printing.data([_facts(view) for view in views])
        return
    if not views:
        printing.err("nothing was submitted; sdxl-train lora --on slurm ... submits a training")
        return
    shown = _shown(views, is_whole=all_)
    printing.document("\n".join(_lines(shown)))
    if len(shown) < len(views):
        printing.err(f"{len(views) - len(shown)} more have ended: --all")
    for view in shown:
        if view.state is TaskState.FAILED:
            printing.err(f"{view.job}: {view.detail}")
            printing.err(f"  {view.remedy or f'sdxl-train runs explain {formatting.shell_word(view.task.output)}'}")


def retry(text: Job, as_json: Json = False, home: HomeOption = None) -> None:
    """Submit again what failed, was cancelled or cut off. Runs are resumed from their states."""
    views = [
        view for view in overview.views(workspace.home(home).cluster) if text in {view.job, view.job.partition("_")[0]}
    ]
    if not views:
        raise UsageError(f"no job {formatting.cut(text)}", "sdxl-train cluster list")
    open_ends = {TaskState.FAILED, TaskState.STOPPED, TaskState.UNKNOWN}
    again = [view for view in views if view.state in open_ends and not _is_pruned(view)]
    if not again:
        states = ", ".join(sorted({view.state.value for view in views}))
        raise UsageError(f"job {text} is {states}: there is nothing to do again", "sdxl-train cluster list")
    batch = again[-1].batch  # Slurm counts from 1 again where it was set up anew: the latest is meant
    again = [view for view in again if view.batch == batch]
    job = submitting.retry(batch, [view.task.index for view in again])
    if as_json:
        printing.data({"job": job, "retried": [view.job for view in again]}, indent=None)
    else:
        printing.out(job)


def _shown(views: Sequence[TaskView], *, is_whole: bool) -> Sequence[TaskView]:
    """What waits or runs or may do so, and the last of what has ended."""
    ended = [view.task.folder for view in views if view.task.end is not None]
    hidden = frozenset(ended[: 0 if is_whole else max(0, len(ended) - _MOST_ENDED)])
    return [view for view in views if view.task.folder not in hidden]


def _is_pruned(view: TaskView) -> bool:
    """Whether it was stopped early by its search, which would stop it again."""
    return view.state is TaskState.STOPPED and view.task.end is not None and view.task.run is not None


def _lines(views: Sequence[TaskView]) -> list[str]:
    headings = ("job", "name", "state", "kind", "preset", "step", "node")
    return wrapping.aligned([headings, *map(_row, views)])


def _row(view: TaskView) -> Sequence[str]:
    task = view.task
    run = task.run
    name = task.name if run is None else run.name
    return view.job, name, view.words, task.kind, task.preset, _step(view), view.node


def _step(view: TaskView) -> str:
    """How far it has come. Nothing for one that is done: it has made all its steps."""
    folder = None if view.state is TaskState.DONE else view.task.run
    last = None if folder is None else metrics.last_step(Run(folder, folder.name).metrics)
    return "" if last is None else str(last)


def _facts(view: TaskView) -> dict[str, object]:
    task, start = view.task, view.task.start
    return {
        "job": view.job, "name": task.name, "state": view.state.value, "detail": view.detail or None,
        "kind": task.kind, "preset": task.preset, "node": view.node or None,
        "run": None if task.run is None else str(task.run), "starts": 0 if start is None else start.starts,
        "output": str(task.output), "token": task.token,
    }  # fmt: skip
