"""What torch's own schedules do to the rate over a run: lr_scheduler_type and its arguments.

Read from torch.optim.lr_scheduler of torch 2.6: defaults, and the factor by which each multiplies the rate.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping

Values = Mapping[str, object]
Factor = Callable[[int, Values], float]
"""Factor of the rate at a step, counted from 0. Raises KeyError, TypeError, ValueError or ArithmeticError for arguments
that torch does not take."""

_MODULE = "torch.optim.lr_scheduler"
IDLE = 0.01
"""Below this share of its first value a rate moves next to nothing."""
_POINTS = 400
"""Steps of a run that are looked at."""


def _number(given: Values, name: str, default: float | None = None) -> float:
    value = given[name] if default is None else given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(value)
    return float(value)


def _step(step: int, given: Values) -> float:
    return math.pow(_number(given, "gamma", 0.1), step // _number(given, "step_size"))


def _milestones(step: int, given: Values) -> float:
    milestones = given["milestones"]
    if not isinstance(milestones, list | tuple):
        raise TypeError(milestones)
    return math.pow(_number(given, "gamma", 0.1), sum(step >= each for each in milestones))


def _exponential(step: int, given: Values) -> float:
    return math.pow(_number(given, "gamma"), step)


def _linear(step: int, given: Values) -> float:
    first, last = _number(given, "start_factor", 1 / 3), _number(given, "end_factor", 1)
    return first + (last - first) * min(1.0, step / _number(given, "total_iters", 5))


def _constant(step: int, given: Values) -> float:
    return _number(given, "factor", 1 / 3) if step < _number(given, "total_iters", 5) else 1.0


def _polynomial(step: int, given: Values) -> float:
    return math.pow(max(0.0, 1 - step / _number(given, "total_iters", 5)), _number(given, "power", 1))


def _cosine(step: int, given: Values) -> float:
    """Without `eta_min`, whose share depends on the rate: it can only raise the factor."""
    if given.get("eta_min"):
        return 1.0
    return (1 + math.cos(math.pi * step / _number(given, "T_max"))) / 2


_FACTORS: Mapping[str, Factor] = {
    "StepLR": _step,
    "MultiStepLR": _milestones,
    "ExponentialLR": _exponential,
    "LinearLR": _linear,
    "ConstantLR": _constant,
    "PolynomialLR": _polynomial,
    "CosineAnnealingLR": _cosine,
}


def idle_share(name: str, arguments: Mapping[str, str], steps: int) -> float:
    """Share of a run's steps, 0 to 1, at which the rate is next to nothing. 0 if the schedule is not known here."""
    module, _, own = name.rpartition(".")
    factor = _FACTORS.get(own)
    if factor is None or module not in {"", _MODULE}:
        return 0.0
    looked_at = range(0, steps, max(1, steps // _POINTS))
    try:
        given = {key: ast.literal_eval(text) for key, text in arguments.items()}
        idle = sum(abs(factor(step, given)) < IDLE for step in looked_at)
    except (KeyError, TypeError, ValueError, SyntaxError, ArithmeticError):  # the trainer, or another rule, refuses it
        return 0.0
    return idle / len(looked_at)
