"""Steps that train nothing: a loss that stands still, and a learning rate of 0 before its schedule ends."""

from __future__ import annotations

from sdxl_train_cli.errors import Problem
from sdxl_train_cli.records.metrics import StepMetrics

STUCK_STEPS = 20
"""Consecutive steps with one and the same loss. The event files hold 32-bit floats, the mean over random noise at a
random timestep: in a run that trains, not even two in a row agree. Masks that are empty can make single steps 0."""
RATE_STEPS = 20
"""Consecutive steps with a rate of 0: a warmup begins with one of them."""
SCHEDULE_END = 0.95
"""Share of the steps from which on a schedule may have reached 0."""


class StuckLoss:
    """Counts the steps in which the loss has been the same to the last digit.

    Without event files only the bar's mean is known, of three digits: of it, nothing but an exact 0 counts.
    """

    def __init__(self) -> None:
        self._value: float | None = None
        self._steps = self._since = 0
        self.sound_until: float | None = None
        """Unix seconds of the last step before."""

    def look(self, metric: StepMetrics) -> Problem | None:
        """Take a step. The problem once it has lasted."""
        value = metric.loss
        if value is None:
            value = 0.0 if metric.average_loss == 0 else None
        if value is None or value != self._value:
            self._value, self._steps, self._since = value, 0, metric.step
            self.sound_until = metric.time - (metric.seconds or 0.0)
        self._steps += value is not None
        if value is None or self._steps < STUCK_STEPS:
            return None
        return Problem(
            f"the loss is exactly {value:g} in every step since step {self._since}: nothing is being trained",
            "--set mixed_precision=no tells whether half precision is the cause, as on some AMD cards\n"
            "with masked_loss or alpha_mask, look whether the masks are empty",
        )


class ZeroRate:
    """Counts the steps in which every learning rate has been 0."""

    def __init__(self) -> None:
        self._steps = self._since = 0
        self.sound_until: float | None = None
        """Unix seconds of the last step before."""

    def look(self, metric: StepMetrics, steps: int | None) -> Problem | None:
        """Take a step of a run of so many. The problem once it has lasted."""
        is_zero = bool(metric.rates) and not any(metric.rates.values())
        if not is_zero or self._steps == 0:
            self._steps, self._since = 0, metric.step
            self.sound_until = metric.time - (metric.seconds or 0.0)
        self._steps += is_zero
        is_end = steps is not None and metric.step > SCHEDULE_END * steps
        if self._steps < RATE_STEPS or is_end:
            return None
        of = "" if steps is None else f" of {steps}"
        return Problem(
            f"the learning rate is 0 since step {self._since}{of}, though its schedule is not at its end:"
            " nothing is being trained",
            "look at lr_scheduler and its arguments; --set lr_scheduler=constant keeps the rate",
        )
