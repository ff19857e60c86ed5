"""Start a run, and again one rung lower where the GPU's memory ran out: as often as allowed, saying what changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sdxl_train_cli import preparation
from sdxl_train_cli.errors import GpuMemoryError, Problem, SdxlTrainError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.memory import remedies, stepdown
from sdxl_train_cli.memory.stepdown import Rung
from sdxl_train_cli.preparation import Choices, Prepared
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
                raise _with_remedy(error, prepared, user_presets) from error
            hands.warn(Problem(error.problems[0].message, f"starting again with {rung.words}: {rung.flags}"))
            step_downs -= 1
            prepared = hands.prepare(_lower(prepared, rung))


def _lower(prepared: Prepared, rung: Rung) -> Choices:
    """The same choices and the rung's changes; what has just run out of memory is not asked of the estimate again."""
    before = prepared.recipe.settings
    changed = [
        Override(option, setting.value, setting.origin)
        for option, setting in rung.recipe.settings.items()
        if option not in before or before[option].value != setting.value
    ]
    choices = prepared.choices
    return replace(choices, overrides=(*choices.overrides, *changed))


def _with_remedy(error: GpuMemoryError, prepared: Prepared, user_presets: Path) -> GpuMemoryError:
    (problem, *others) = error.problems
    ways = remedies.for_memory(prepared.recipe, _device_now(prepared), user_presets)
    again = "or let it step down by itself: --on-oom step-down"
    return GpuMemoryError([replace(problem, hint=f"{ways}\n{again}\n{problem.hint or ''}".strip()), *others])


def _device_now(prepared: Prepared) -> Gpu | None:
    """The GPU as it is free after the trainer's end."""
    if prepared.device is None:
        return None
    try:
        return preparation.choose_device(prepared.device.index)
    except SdxlTrainError:
        return prepared.device
