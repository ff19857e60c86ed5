"""Make a job of a run that passed every check."""

from __future__ import annotations

from sdxl_train_cli.jobs.job import Waiting
from sdxl_train_cli.run import preparation, repeating
from sdxl_train_cli.run.guards import Guard
from sdxl_train_cli.run.preparation import Prepared


def waiting(prepared: Prepared, guards_off: frozenset[Guard] = frozenset(), *, step_downs: int = 0) -> Waiting:
    """The job of a prepared run, as its choices are now."""
    choices = prepared.choices
    return Waiting(
        name=choices.name,
        kind=choices.kind.value,
        preset=prepared.recipe.name,
        record=repeating.record(prepared).model_dump_json(exclude_unset=True),
        guards_off=tuple(sorted(guard.value for guard in guards_off)),
        step_downs=step_downs,
        gpus=1 if choices.on_processor else choices.processes,
        gpu_indices=choices.gpu_indices or (() if choices.gpu_index is None else (choices.gpu_index,)),
        need_gib=preparation.need_gib(prepared),
    )
