"""Ask Optuna for the next point of a search. The only door to it; it is an optional part of the installation.

A study is made anew from the sweep's points for each question, so nothing of it has to survive a kill: what a point
has shown is read from its run, and can't be told twice.
"""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sdxl_train_cli import formatting
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.sweeps import axes
from sdxl_train_cli.sweeps.axes import Axis, Settings

_SEED = 42
_TRIES = 20
"""Questions, as an answer may be a point that is there already."""
_LEAST_AT_RANDOM, _MOST_AT_RANDOM, _SHARE_AT_RANDOM = 3, 10, 3
"""Of the points, a third is drawn at random first: there is nothing to learn from before."""


class Knowledge(Enum):
    """What is known of a point."""

    MEASURED = "measured"
    OPEN = "open"
    """It waits or runs."""
    FAILED = "failed"
    BEHIND = "behind"
    """It was stopped early."""


@dataclass(frozen=True)
class TriedPoint:
    """A point, and the loss on held-back pictures as far as it is known."""

    settings: Settings
    knowledge: Knowledge
    loss: float | None = None


def require() -> None:
    """UsageError where Optuna is not installed."""
    if importlib.util.find_spec("optuna") is None:
        argv = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable, "optuna"]
        hint = f"{formatting.shell_line(argv)}\nor give --random in place of --search"
        raise UsageError("a search needs Optuna, which is not installed", hint)


def at_random_first(count: int) -> int:
    """How many of a search's points are drawn at random: a third, at least 3 and at most 10, and not more than all."""
    return min(max(count // _SHARE_AT_RANDOM, _LEAST_AT_RANDOM), _MOST_AT_RANDOM, count)


def next_point(
    varied: Sequence[Axis], tried: Sequence[TriedPoint], count: int, number: int | None = None
) -> Settings | None:
    """The settings to try next. None if every combination was tried.

    `number` is the asker's, where several may ask in the same moment: each then gets another answer.
    """
    require()
    known = {tuple(one.settings.values()) for one in tried}
    whole = axes.size(varied)
    if whole is not None and len(known) >= whole:
        return None
    seed = _SEED + (len(tried) if number is None else number)
    for attempt in range(_TRIES):
        found = _asked(varied, tried, at_random_first(count), seed + 1000 * attempt)
        if tuple(found.values()) not in known:
            return found
    source = random.Random(seed)  # noqa: S311 - not for secrets
    drawn = axes.at_random(varied, len(known) + 1, source.randrange(1 << 30))
    return next((one for one in drawn if tuple(one.values()) not in known), None)


def _asked(varied: Sequence[Axis], tried: Sequence[TriedPoint], first: int, seed: int) -> Settings:
    import optuna  # noqa: PLC0415 - optional, and slow to import

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=first, constant_liar=True)
    study = optuna.create_study(sampler=sampler, direction="minimize")
    distributions = {axis.option: _distribution(optuna, axis) for axis in varied}
    known = optuna.trial.TrialState
    states = {
        Knowledge.MEASURED: known.COMPLETE,
        Knowledge.OPEN: known.RUNNING,
        Knowledge.FAILED: known.FAIL,
        Knowledge.BEHIND: known.PRUNED,
    }
    for one in tried:
        is_measured = one.knowledge is Knowledge.MEASURED
        seen = {1: one.loss} if one.loss is not None and not is_measured else {}
        study.add_trial(
            optuna.trial.create_trial(
                state=states[one.knowledge], value=one.loss if is_measured else None, intermediate_values=seen,
                params=_params(varied, one.settings), distributions=distributions,
            )
        )  # fmt: skip
    answer = study.ask(distributions).params
    return {axis.option: axis.range.text(answer[axis.option]) if axis.range else str(answer[axis.option])
            for axis in varied}  # fmt: skip


def _distribution(optuna: Any, axis: Axis) -> Any:  # noqa: ANN401 - Optuna's own
    if axis.range is None:
        return optuna.distributions.CategoricalDistribution(axis.values)
    low, high, log = axis.range.low, axis.range.high, axis.range.is_by_factors
    if axis.range.is_whole:
        return optuna.distributions.IntDistribution(int(low), int(high), log=log)
    return optuna.distributions.FloatDistribution(low, high, log=log)


def _params(varied: Sequence[Axis], settings: Mapping[str, str]) -> dict[str, str | float]:
    return {
        axis.option: settings[axis.option] if axis.range is None
        else int(settings[axis.option]) if axis.range.is_whole else float(settings[axis.option])
        for axis in varied
    }  # fmt: skip
