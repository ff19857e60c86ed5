"""`sdxl-train queue add ...`: the training commands' own flags and checks, but the run waits."""

from __future__ import annotations

import typer

from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.jobs import worker
from sdxl_train_cli.jobs.job import Waiting
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory import requirement
from sdxl_train_cli.run import repeating
from sdxl_train_cli.run.guards import Guard
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.ui import console, printing

GROUP = "add"


def is_asked(context: typer.Context) -> bool:
    """Whether the training was typed after `queue add`."""
    return context.parent is not None and context.parent.info_name == GROUP


def _require_one_gpu(choices: Choices) -> None:
    """UsageError for a training on several GPUs: the queue gives each job one."""
    if choices.processes > 1:
        words = f"the queue gives each job one GPU, and this training takes {choices.processes}"
        raise UsageError(words, f"without the queue: sdxl-train {choices.kind.value} --gpus {choices.processes}")


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
    _require_one_gpu(prepared.choices)
    job = queue.add(waiting_of(prepared, guards_off, step_downs))
    if as_json:
        printing.data({"job": job.id, "name": job.name, "kind": job.kind, "preset": job.preset}, indent=None)
    else:
        printing.out(str(job.id))
    if not worker.is_working(queue):
        console.note(f"job {job.id} ({job.name}) waits; to work off the queue: sdxl-train queue start")


def waiting_of(prepared: Prepared, guards_off: frozenset[Guard], step_downs: int) -> Waiting:
    """A run that passed every check, to be carried out later."""
    choices = prepared.choices
    return Waiting(
        name=choices.name,
        kind=choices.kind.value,
        preset=prepared.recipe.name,
        record=repeating.record(prepared).model_dump_json(exclude_unset=True),
        guards_off=tuple(sorted(guard.value for guard in guards_off)),
        step_downs=step_downs,
        gpu_index=choices.gpu_index,
        need_gib=None if prepared.device is None else requirement.need(prepared.heaviest).high_gib,
    )
