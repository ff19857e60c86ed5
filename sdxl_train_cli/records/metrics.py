"""A run's figures by step, one JSON object a line: written as they come, continued by a resumed run."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from sdxl_train_cli import files
from sdxl_train_cli.sdscripts.scalars import LoggedScalars

_LOSSES = ("loss/current", "loss")
_MEANS = ("loss/average",)
_RATE = "lr/"
_LONGEST_LINE = 64 * 1024
"""Bytes; a step's figures take some hundred."""
_MOST_STEPS = 10**9
"""A number above it is no step of a run."""


@dataclass(frozen=True)
class StepMetrics:
    """One step's figures; None is what could not be known."""

    step: int
    time: float
    """Unix seconds."""
    loss: float | None = None
    """The step's own; with gradient accumulation the mean of its parts. NaN and infinity are possible."""
    average_loss: float | None = None
    """sd-scripts' mean over the last epoch's length of steps."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Learning rates by sd-scripts' names: unet, textencoder, group0."""
    seconds: float | None = None
    """Since the step before."""
    gpu_used_gib: float | None = None
    """By the run's own processes where the driver tells, else by all."""
    gpu_total_gib: float | None = None
    gpu_power_watts: float | None = None

    @property
    def shown_loss(self) -> float | None:
        """The mean where there is one: single steps scatter."""
        return self.loss if self.average_loss is None else self.average_loss

    @property
    def line(self) -> str:
        """As it stands in the file: NaN is no JSON, so it is written as text."""
        return json.dumps({name: _plain(value) for name, value in vars(self).items()})


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return round(value, 6) if isinstance(value, float) and abs(value) >= 1 else value


def parse(line: str | bytes) -> StepMetrics | None:
    """Read one line; None where it is torn or not ours."""
    found = row(line)
    if found is None:
        return None
    try:
        rates = found.get("rates")
        figures = {name: None if found.get(name) is None else float(str(found[name])) for name in _FIGURES}
        return StepMetrics(
            int(str(found["step"])),
            float(str(found["time"])),
            rates={str(name): float(rate) for name, rate in rates.items()} if isinstance(rates, dict) else {},
            **figures,
        )
    except (ValueError, TypeError, KeyError, OverflowError):
        return None


def row(line: str | bytes) -> Mapping[str, object] | None:
    """One line as it stands there; None where it is torn, or of no step that a run can make."""
    try:
        found = files.parse_json(line)
    except ValueError:  # UnicodeDecodeError is one too
        return None
    step = found.get("step") if isinstance(found, dict) else None
    is_step = isinstance(step, int) and not isinstance(step, bool) and 0 <= step <= _MOST_STEPS
    return found if isinstance(found, dict) and is_step else None


_FIGURES = ("loss", "average_loss", "seconds", "gpu_used_gib", "gpu_total_gib", "gpu_power_watts")


def lines(path: Path) -> Iterator[bytes]:
    """A metrics file line by line; of one that is longer than any step's, its beginning alone.

    OSError where it is absent or no plain file: a pipe would be waited for for ever.
    """
    with files.open_plain(path) as file:
        while line := file.readline(_LONGEST_LINE):
            yield line
            while not line.endswith(b"\n") and (line := file.readline(_LONGEST_LINE)):
                pass


def load(path: Path) -> list[StepMetrics]:
    """All steps of a run in their order; lines that are torn are left out, and so is a file that is not there."""
    try:
        found = [metric for metric in map(parse, lines(path)) if metric is not None]
    except OSError:
        return []
    return list({metric.step: metric for metric in sorted(found, key=lambda metric: metric.step)}.values())


def truncate(path: Path, last_step: int, logged: Iterable[LoggedScalars] = ()) -> None:
    """Drop the steps after `last_step`, which are made again; what a kill has left out comes from the log."""
    kept = {metric.step: metric for metric in load(path) if metric.step <= last_step}
    for metric in _from_log(logged):
        if metric.step <= last_step:
            known = kept.get(metric.step, metric)
            loss = metric.loss if known.loss is None else known.loss
            kept[metric.step] = replace(known, loss=loss, rates=known.rates or metric.rates)
    files.write(path, "".join(kept[step].line + "\n" for step in sorted(kept)))


def _from_log(logged: Iterable[LoggedScalars]) -> Iterator[StepMetrics]:
    """Each step's first logging: with accumulated gradients, the parts of the next step follow under its number."""
    for scalars in logged:
        loss = _first(scalars.values, _LOSSES)
        if loss is not None and scalars.step > 0:
            bare = StepMetrics(scalars.step, scalars.time)
            yield _joined(bare, LoggedScalars(scalars.step, {**scalars.values, "loss": loss}))


class Recorder:
    """Joins what the bar, the log and the driver know of a step, and writes it once the next one is told.

    The trainer logs a step number by number, and all of it before the next step.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8", newline="\n")
        self._waiting: dict[int, StepMetrics] = {}
        self._logged: dict[int, LoggedScalars] = {}
        self._parts: list[float] = []
        self._last_logged = 0

    def __enter__(self) -> Recorder:  # noqa: PYI034 - typing.Self needs Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._file.close()

    def step(self, metric: StepMetrics) -> None:
        """Take what the bar and the driver tell of a step; of one step told twice, the first counts."""
        self._waiting.setdefault(metric.step, metric)

    def log(self, logged: Iterable[LoggedScalars]) -> None:
        """Take what the trainer has logged."""
        for scalars in logged:
            loss = _first(scalars.values, _LOSSES)
            if loss is None:  # an epoch's mean or a validation, which count otherwise; or the rest of a step
                self._complete(scalars)
                continue
            self._parts.append(loss)
            if scalars.step <= self._last_logged:
                continue  # a part of the next step: gradients are accumulated
            mean = sum(self._parts) / len(self._parts)
            self._logged[scalars.step] = LoggedScalars(scalars.step, {**scalars.values, "loss": mean})
            self._last_logged, self._parts = scalars.step, []

    def _complete(self, rest: LoggedScalars) -> None:
        """Take what was not written yet when the step's loss was read."""
        begun = self._logged.get(rest.step)
        if begun is not None:
            self._logged[rest.step] = replace(begun, values={**rest.values, **begun.values})

    @property
    def is_settled(self) -> bool:
        """Whether the trainer has logged every step that it told, up to the rates, which come last."""
        logged = {
            step for step, scalars in self._logged.items() if any(name.startswith(_RATE) for name in scalars.values)
        }
        return self._waiting.keys() <= logged

    def ready(self, *, ended: bool = False) -> Iterator[StepMetrics]:
        """Write and give the steps before the last one, in their order; that too once the run has `ended`."""
        newest = max(self._waiting, default=0)
        for step in sorted(self._waiting):
            if step == newest and not ended:
                return
            metric = _joined(self._waiting.pop(step), self._logged.pop(step, None))
            # A full disk is for the trainer to stumble over and for the person to be told of by the guard.
            with contextlib.suppress(OSError):
                self._file.write(metric.line + "\n")
                self._file.flush()
            yield metric


def _joined(metric: StepMetrics, logged: LoggedScalars | None) -> StepMetrics:
    if logged is None:
        return metric
    rates = {name.removeprefix(_RATE): rate for name, rate in logged.values.items() if name.startswith(_RATE)}
    # v0.10.1 logs the last group of weights a second time, by its number.
    named = {name: rate for name, rate in rates.items() if not name.startswith("group")}
    mean = _first(logged.values, _MEANS)
    average = metric.average_loss if mean is None else mean
    return replace(metric, loss=logged.values["loss"], average_loss=average, rates=named or rates)


def _first(values: Mapping[str, float], names: Iterable[str]) -> float | None:
    return next((values[name] for name in names if name in values), None)
