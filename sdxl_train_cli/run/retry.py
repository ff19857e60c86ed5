"""Start a run, and restart it with less memory if the GPU runs out: up to a limit, saying what changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from sdxl_train_cli import formatting
from sdxl_train_cli.errors import GpuMemoryError, Problem
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.memory import out_of_memory, step_down
from sdxl_train_cli.memory.step_down import Reduction
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.run import preparation
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.resuming import ResumedRun
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.run.training import RunResult

Start = TypeVar("Start", Prepared, ResumedRun)
"""A new run, or a resumed one."""


@dataclass(frozen=True)
class RunActions(Generic[Start]):
    """The real commands' actions."""

    carry_out: Callable[[Start], RunResult]
    lower: Callable[[Start, Reduction], Start]
    """Prepare the run again with the reduction's changes."""
    warn: Callable[[Problem], None]


@dataclass(frozen=True)
class RetryPolicy:
    """How restarts are described, and what must be preserved."""

    verb: str
    to_allow: str
    """What to type for more attempts. It ends with the flag."""
    at_end: str
    """Message if nothing is left to reduce."""
    keeps_state: bool
    """Only allow changes after which a saved state still loads."""


NEW = RetryPolicy(
    "starting again",
    "or let it step down automatically: --on-oom step-down",
    "there is nothing smaller to step down to",
    keeps_state=False,
)
"""Every start is a new run."""


def resume_policy(folder: Path) -> RetryPolicy:
    """Policy for a resumed run, which keeps its folder and state."""
    return RetryPolicy(
        "resuming",
        f"resume with less: sdxl-train runs resume {formatting.shell_word(folder)} --on-oom step-down",
        "a run with this state has nothing left to give up; start a new run with less",
        keeps_state=True,
    )


def carry_out(
    start: Start, actions: RunActions[Start], policy: RetryPolicy, *, step_downs: int, user_presets: Path
) -> RunResult:
    """Carry out the run. If memory runs out, retry with less, at most `step_downs` times.

    Raises what preparing and training raise. GpuMemoryError names what would fit.
    """
    left = step_downs
    while True:
        try:
            return actions.carry_out(start)
        except GpuMemoryError as error:
            table = start.environment.options()
            reduction = step_down.next_reduction(start.heaviest, table, keep_state=policy.keeps_state)
            if reduction is None or not left:
                more = f" --step-downs {2 * step_downs}" if step_downs else ""
                last = policy.at_end if reduction is None else policy.to_allow + more
                raise _with_remedy(error, start.heaviest, start.device, user_presets, last) from error
            actions.warn(Problem(error.problems[0].message, f"{policy.verb} with {reduction.words}: {reduction.flags}"))
            left -= 1
            start = actions.lower(start, reduction)


def apply_reduction(choices: Choices, reduction: Reduction) -> Choices:
    """The choices with the reduction's changes."""
    changed = [
        Override(option, None if setting is None else setting.value, step_down.ORIGIN)
        for option, setting in reduction.changes.items()
    ]
    return replace(choices, overrides=(*choices.overrides, *changed))


def _with_remedy(
    error: GpuMemoryError, recipe: Recipe, device: Gpu | None, user_presets: Path, last: str
) -> GpuMemoryError:
    problem, *others = error.problems
    now = device and preparation.device_now(device.index)  # with the memory that is free now that the trainer has ended
    ways = out_of_memory.for_memory(recipe, now or device, user_presets)
    hint = "\n".join([*ways, last, *problem.hint_lines])
    return GpuMemoryError([replace(problem, hint=hint), *others])
