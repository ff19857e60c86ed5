"""Detect silent failures of a running training: guards check its values, and warn or demand a stop."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from statistics import median

from sdxl_train_cli.errors import Problem, UsageError
from sdxl_train_cli.failures import remedies
from sdxl_train_cli.failures.remedies import RunFacts
from sdxl_train_cli.records.metrics import StepMetrics
from sdxl_train_cli.run import early_spill
from sdxl_train_cli.run.early_spill import FULL, SLOWED, UsualSpeed
from sdxl_train_cli.run.idle_steps import StuckLoss, ZeroRate

NAN_STEPS = 3
"""Consecutive steps with a NaN loss. A single one may be a bad picture that the gradient scaler skips."""
RECENT, BEFORE = 10, 200
"""Steps over which losses are compared. Single steps vary by a factor of ten."""
EXPLODED = 5.0
"""Factor over the median of the steps before."""
WARM = 20
"""Steps before speed and loss are meaningful."""
SILENT_SECONDS = 180.0
SILENT_STEPS = 20.0
"""The trainer is silent after this many steps' time, but not before the minimum."""


class Guard(str, Enum):
    """Values of `--no-guard`."""

    NAN = "nan"
    LOSS = "loss"
    STUCK = "stuck"
    RATE = "rate"
    SPEED = "speed"
    SILENCE = "silence"
    DISK = "disk"
    SAMPLES = "samples"


def parse(names: Iterable[str]) -> frozenset[Guard]:
    """The guards by name. UsageError for an unknown one."""
    known = {guard.value: guard for guard in Guard}
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise UsageError(f"no guard '{unknown[0]}'", f"one of: {', '.join(known)}")
    return frozenset(known[name] for name in names)


@dataclass(frozen=True)
class Alarm:
    """What a guard has found."""

    guard: Guard
    problem: Problem
    stops: bool = False
    """The run is lost: continuing would only waste time."""
    sound_until: float | None = None
    """Unix seconds of the last good step. None if the last step with a loss was."""


class Guards:
    """All guards except those in `off`. Each warns once, so that an overnight log stays readable."""

    def __init__(
        self,
        off: frozenset[Guard] = frozenset(),
        facts: RunFacts = RunFacts(),  # noqa: B008 - it is frozen
        usual: UsualSpeed | None = None,
    ) -> None:
        self._off, self._facts, self._usual = off, facts, usual
        self._told: set[Guard] = set()
        self._losses: deque[float] = deque(maxlen=BEFORE)
        self._seconds: deque[float] = deque(maxlen=BEFORE)
        self._nan_steps = 0
        self._gpu_used_gib: float | None = None
        self._stuck, self._zero_rate = StuckLoss(), ZeroRate()

    def look(self, metric: StepMetrics, steps: int | None = None, gpu_used_gib: float | None = None) -> list[Alarm]:
        """Check a step's values. `steps` is the run's length, `gpu_used_gib` what all programs use of the GPU."""
        self._gpu_used_gib = gpu_used_gib
        found = [look(metric) for look in (self._nan, self._loss, self._speed)]
        for guard, idle, problem in (
            (Guard.STUCK, self._stuck, self._stuck.look(metric)),
            (Guard.RATE, self._zero_rate, self._zero_rate.look(metric, steps)),
        ):
            if problem is not None:
                found.append(Alarm(guard, problem, stops=True, sound_until=idle.sound_until))
        return [alarm for alarm in found if alarm is not None and self._is_new(alarm)]

    def hear(self, alarm: Alarm | None) -> list[Alarm]:
        """Filter alarms from other sources: the disk, the samples, the silence."""
        return [alarm] if alarm is not None and self._is_new(alarm) else []

    def is_on(self, guard: Guard) -> bool:
        """Whether the guard is active and has not warned yet."""
        return guard not in self._off and guard not in self._told

    def _is_new(self, alarm: Alarm) -> bool:
        new = self.is_on(alarm.guard)
        self._told.add(alarm.guard)
        return new

    def _nan(self, metric: StepMetrics) -> Alarm | None:
        loss = metric.shown_loss if metric.loss is None else metric.loss
        bad = loss is not None and not math.isfinite(loss)
        self._nan_steps = self._nan_steps + 1 if bad else 0
        if self._nan_steps < NAN_STEPS:
            return None
        since = metric.step - NAN_STEPS + 1
        return Alarm(
            Guard.NAN,
            Problem(
                f"the loss is not a number since step {since}: what was trained since is worthless",
                remedies.not_a_number(self._facts),
            ),
            stops=True,
        )

    def _loss(self, metric: StepMetrics) -> Alarm | None:
        if metric.loss is None or not math.isfinite(metric.loss):
            return None
        self._losses.append(metric.loss)
        if len(self._losses) < WARM + RECENT:
            return None
        *before, _ = (values := list(self._losses))[: -RECENT + 1]
        recent, usual = median(values[-RECENT:]), median(before)
        if recent <= EXPLODED * usual:
            return None
        return Alarm(
            Guard.LOSS,
            Problem(
                f"the loss has risen from {usual:.3g} to {recent:.3g} (medians): training seems to be diverging",
                "stop it with Ctrl-C, and start again with a lower learning rate: --set learning_rate=...",
            ),
        )

    def _speed(self, metric: StepMetrics) -> Alarm | None:
        if metric.seconds is None:
            return None
        self._seconds.append(metric.seconds)
        total = metric.gpu_total_gib
        used = max((gib for gib in (metric.gpu_used_gib, self._gpu_used_gib) if gib is not None), default=None)
        if len(self._seconds) < early_spill.STEPS or used is None or not total or used < FULL * total:
            return None
        recent, whole = median(list(self._seconds)[-RECENT // 2 :]), median(self._seconds)
        instead = None if self._usual is None else self._usual.instead_of(min(recent, whole))
        if len(self._seconds) >= WARM and recent > SLOWED * whole:
            instead = f"{whole:.1f} s"
        if instead is None:
            return None
        return Alarm(
            Guard.SPEED,
            Problem(
                f"a step takes {recent:.1f} s instead of {instead}, and the GPU's memory is full ({used:.1f} of "
                f"{total:.1f} GB): the driver seems to be moving it to the computer's memory",
                "stop with Ctrl-C and use smaller settings: `sdxl-train plan` names what fits; on "
                "Windows, set the driver's "
                "'CUDA - Sysmem Fallback Policy' to 'Prefer No Sysmem Fallback'",
            ),
        )


def silence(seconds: float, seconds_per_step: float | None, activity: Callable[[], str]) -> Alarm | None:
    """Alarm if the trainer has been silent for too long, with what its processes do. Nothing is stopped for it."""
    if seconds < max(SILENT_SECONDS, SILENT_STEPS * (seconds_per_step or 0)):
        return None
    return Alarm(
        Guard.SILENCE,
        Problem(
            f"no output for {seconds / 60:.0f} minutes: {activity()}",
            "it may be busy with something long; Ctrl-C stops it, and `sdxl-train runs resume` goes on",
        ),
    )


def disk(free_gib: float, next_gib: float, where: str) -> Alarm | None:
    """Alarm if the next checkpoint does not fit."""
    if free_gib >= next_gib:
        return None
    return Alarm(
        Guard.DISK,
        Problem(
            f"{where} has {free_gib:.1f} GB left, and the next checkpoint takes about {next_gib:.1f}",
            "free some space now: the run goes on until it has to save",
        ),
    )


def sample(name: str, spread: int) -> Alarm | None:
    """Alarm if a sample is blank. `spread` is the largest difference within a colour channel, 0 to 255."""
    if spread > 8:  # noqa: PLR2004 - a single-coloured JPEG varies by less
        return None
    return Alarm(
        Guard.SAMPLES,
        Problem(
            f"the sample {name} is all one colour: the VAE or the training has broken",
            "with fp16, add --set no_half_vae=true; else look at the loss, and lower the learning rate",
        ),
    )
