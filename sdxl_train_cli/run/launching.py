"""Follow a prepared run to its end, and keep what it took for the next check of GPU memory."""

from __future__ import annotations

from sdxl_train_cli.dataset import cache_stamps
from sdxl_train_cli.errors import Problem
from sdxl_train_cli.memory import measurements
from sdxl_train_cli.run import preparation, training
from sdxl_train_cli.run.guards import Guard
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.training import OnEvent, RunResult


def follow(prepared: Prepared, on_event: OnEvent, guards_off: frozenset[Guard] = frozenset()) -> RunResult:
    """Start the trainer of a run whose record is written, and watch it; blocks until it has ended.

    Raises what `training.watch` raises.
    """
    makers = preparation.cache_makers_of(prepared.choices, prepared.recipe)
    if makers is not None:
        cache_stamps.write(prepared.pictures, prepared.recipe, makers)
    return training.watch(
        prepared.run,
        prepared.argv,
        cwd=prepared.environment.checkout,
        env=prepared.variables,
        on_event=on_event,
        conditions=prepared.conditions(guards_off),
        examiner=prepared.examiner,
    )


def remember(prepared: Prepared, peak_gib: float | None, seconds_per_step: float | None) -> Problem | None:
    """Write down what a run took; gives the problem where that can't be written.

    A scaled model and a trainer without torch say nothing of it, nor several GPUs of one.
    """
    says_nothing = prepared.is_scaled or not prepared.environment.trains or prepared.recipe.processes > 1
    if prepared.device is None or peak_gib is None or says_nothing:
        return None
    measured = measurements.from_run(
        prepared.recipe,
        prepared.pictures,
        prepared.environment,
        prepared.device,
        peak_gib,
        seconds_per_step,
        fast=prepared.choices.fast,
    )
    return measurements.add(prepared.home, measured) if measured else None
