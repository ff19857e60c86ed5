"""`sdxl-train queue add ...`: the training commands' own flags and checks, but the run waits."""

from __future__ import annotations

import typer

from sdxl_train_cli.jobs import entering, worker
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.layout import Home
from sdxl_train_cli.run.guards import Guard
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.ui import console, printing

GROUP = "add"


def is_asked(context: typer.Context) -> bool:
    """Whether the training was typed after `queue add`."""
    return context.parent is not None and context.parent.info_name == GROUP


def add(
    prepared: Prepared,
    where: Home,
    guards_off: frozenset[Guard] = frozenset(),
    *,
    step_downs: int = 0,
    as_json: bool = False,
) -> None:
    """Put a run that passed every check at the end of the queue, as its choices are now."""
    queue = Queue(where.queue)
    job = queue.add(entering.waiting(prepared, guards_off, step_downs=step_downs))
    if as_json:
        printing.data({"job": job.id, "name": job.name, "kind": job.kind, "preset": job.preset}, indent=None)
    else:
        printing.out(str(job.id))
    if not worker.is_working(queue):
        console.note(f"job {job.id} ({job.name}) waits; to work off the queue: sdxl-train queue start")
