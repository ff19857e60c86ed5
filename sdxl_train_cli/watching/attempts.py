"""Start a run, and again one rung lower where the GPU's memory ran out: as often as allowed, saying what changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sdxl_train_cli import preparation
from sdxl_train_cli.choice import Choices
from sdxl_train_cli.errors import GpuMemoryError, Problem
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.keeping.resuming import Resumed
from sdxl_train_cli.memory import remedies, stepdown
from sdxl_train_cli.memory.stepdown import Rung
from sdxl_train_cli.preparation import Prepared
from sdxl_train_cli.recipe import Recipe, Setting
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.watching.training import Outcome


@dataclass(frozen=True)
class Hands:
    """What the real commands do."""

    prepare: Callable[[Choices], Prepared]
    carry_out: Callable[[Prepared], Outcome]
    warn: Callable[[Problem], None]


def train(prepared: Prepared, hands: Hands, *, step_downs: int, user_presets: Path) -> Outcome:
    """Carry it out; where memory runs out, at most `step_downs` times again with less.

    Each start is a run of its own. Raises what preparing and training raise; GpuMemoryError names what would fit.
    """
    while True:
        try:
            return hands.carry_out(prepared)
        except GpuMemoryError as error:
            table = prepared.environment.options()
            rung = stepdown.next_rung(prepared.recipe, table) if step_downs else None
            if rung is None:
                again = "or let it step down by itself: --on-oom step-down"
                raise _with_remedy(error, prepared.recipe, prepared.device, user_presets, again) from error
            hands.warn(Problem(error.problems[0].message, f"starting again with {rung.words}: {rung.flags}"))
            step_downs -= 1
            prepared = hands.prepare(_lower(prepared, rung))


def _lower(prepared: Prepared, rung: Rung) -> Choices:
    """The same choices and the rung's changes; what has just run out of memory is not asked of the estimate again."""
    changed = [Override(option, setting.value, setting.origin) for option, setting in rung.changes.items()]
    choices = prepared.choices
    return replace(choices, overrides=(*choices.overrides, *changed))


@dataclass(frozen=True)
class ResumingHands:
    """What the real command does to go on with a run."""

    prepare: Callable[[Mapping[str, Setting]], Resumed]
    """From the furthest state, with these settings other than the run had."""
    carry_out: Callable[[Resumed], Outcome]
    warn: Callable[[Problem], None]


def resume(resumed: Resumed, hands: ResumingHands, *, step_downs: int, user_presets: Path) -> Outcome:
    """The same for a run that goes on: it stays one run, and only what leaves its state loadable is changed."""
    while True:
        try:
            return hands.carry_out(resumed)
        except GpuMemoryError as error:
            rung = stepdown.next_rung(resumed.recipe, resumed.environment.options(), keep_state=True)
            if rung is None or not step_downs:
                again = f"go on with less: sdxl-train runs resume {resumed.run.folder} --on-oom step-down"
                nothing = "nothing is left that a run with this state could do without; start anew with less"
                last = nothing if rung is None else again
                raise _with_remedy(error, resumed.recipe, resumed.device, user_presets, last) from error
            hands.warn(Problem(error.problems[0].message, f"going on with {rung.words}: {rung.flags}"))
            step_downs -= 1
            resumed = hands.prepare(rung.changes)


def _with_remedy(
    error: GpuMemoryError, recipe: Recipe, device: Gpu | None, user_presets: Path, again: str
) -> GpuMemoryError:
    (problem, *others) = error.problems
    now = device and preparation.device_now(device.index)  # as it is free after the trainer's end
    ways = remedies.for_memory(recipe, now or device, user_presets)
    return GpuMemoryError([replace(problem, hint=f"{ways}\n{again}\n{problem.hint or ''}".strip()), *others])
