"""A run's values per step as JSON lines: written as they arrive, continued by a resumed run."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

from sdxl_train_cli import files
from sdxl_train_cli.sdscripts.scalars import LoggedScalars

_LOSSES = ("loss/current", "loss")
_MEANS = ("loss/average",)
_VALIDATION = ("loss/validation/epoch_average", "loss/validation/step_average")
_RATE = "lr/"
_ONLY_RATE = "lr"
"""How train_textual_inversion.py calls its one rate."""
_LONGEST_LINE = 64 * 1024
"""Bytes. A step's values take a few hundred."""
_MOST_STEPS = 10**9
"""A larger number is no step of a run."""


@dataclass(frozen=True)
class StepMetrics:
    """Values of one step. None if unknown."""

    step: int
    time: float
    """Unix seconds."""
    loss: float | None = None
    """Loss of the step. With gradient accumulation, the mean of its parts. May be NaN or infinite."""
    average_loss: float | None = None
    """sd-scripts' mean over as many steps as an epoch has."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Learning rates by sd-scripts' names: unet, textencoder, group0, or lr alone."""
    seconds: float | None = None
    """Seconds since the previous step."""
    gpu_used_gib: float | None = None
    """Memory of the run's own processes if the driver reports it, otherwise of all."""
    gpu_total_gib: float | None = None
    gpu_power_watts: float | None = None
    validation_loss: float | None = None
    """Mean loss on the pictures that are held back, where they were looked at after this step."""

    @property
    def shown_loss(self) -> float | None:
        """The mean if there is one: single steps vary widely."""
        return self.loss if self.average_loss is None else self.average_loss

    @property
    def line(self) -> str:
        """The line in the file. NaN is written as text, as JSON has none."""
        return json.dumps({name: _plain(value) for name, value in vars(self).items()})


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return round(value, 6) if isinstance(value, float) and abs(value) >= 1 else value


def parse(line: str | bytes) -> StepMetrics | None:
    """Parse one line. None if it is truncated or not ours."""
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
    """One line's raw values. None if it is truncated, or its step is impossible."""
    try:
        found = files.parse_json(line)
    except ValueError:  # UnicodeDecodeError is one too
        return None
    step = found.get("step") if isinstance(found, dict) else None
    is_step = isinstance(step, int) and not isinstance(step, bool) and 0 <= step <= _MOST_STEPS
    return found if isinstance(found, dict) and is_step else None


_FIGURES = (
    "loss", "average_loss", "validation_loss", "seconds", "gpu_used_gib", "gpu_total_gib", "gpu_power_watts",
)  # fmt: skip


def lines(path: Path, longest: int = _LONGEST_LINE) -> Iterator[bytes]:
    """Lines of a metrics file. An overlong line is cut to its beginning.

    OSError if the file is absent or not regular: reading a pipe would block.
    """
    with files.open_plain(path) as file:
        while line := file.readline(longest):
            yield line
            while not line.endswith(b"\n") and (line := file.readline(longest)):
                pass


def last(path: Path) -> StepMetrics | None:
    """The last step in a file, of which only the end is read. None if there is none."""
    try:
        with files.open_plain(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LONGEST_LINE))
            told = file.read(_LONGEST_LINE).splitlines()
    except OSError:
        return None
    return next((metric for metric in map(parse, reversed(told)) if metric is not None), None)


def last_step(path: Path) -> int | None:
    """The number of the last step in a file. None if there is none."""
    found = last(path)
    return None if found is None else found.step


def load(path: Path) -> list[StepMetrics]:
    """All steps of a run in order. Truncated lines are skipped. Empty if there is no file."""
    try:
        found = [metric for metric in map(parse, lines(path)) if metric is not None]
    except OSError:
        return []
    return list({metric.step: metric for metric in sorted(found, key=lambda metric: metric.step)}.values())


def truncate(path: Path, last_step: int, logged: Iterable[LoggedScalars] = ()) -> None:
    """Drop steps after `last_step`, which will be repeated. Steps lost in a kill are restored from the log."""
    kept = {metric.step: metric for metric in load(path) if metric.step <= last_step}
    for metric in _from_log(logged):
        if metric.step <= last_step:
            known = kept.get(metric.step, metric)
            loss = metric.loss if known.loss is None else known.loss
            kept[metric.step] = replace(known, loss=loss, rates=known.rates or metric.rates)
    files.write(path, "".join(kept[step].line + "\n" for step in sorted(kept)))


def _from_log(logged: Iterable[LoggedScalars]) -> Iterator[StepMetrics]:
    """First log entry of each step. With accumulation, parts of the next step follow under its number."""
    for scalars in logged:
        loss = _first(scalars.values, _LOSSES)
        if loss is not None and scalars.step > 0:
            bare = StepMetrics(scalars.step, scalars.time)
            yield _joined(bare, LoggedScalars(scalars.step, {**scalars.values, "loss": loss}))


class Recorder:
    """Merge the progress bar's, the log's and the driver's values of a step, and write it when the next one begins.

    The trainer logs steps in order, each completely before the next. A resumed run's first is after `first_step`.
    """

    def __init__(self, path: Path, first_step: int = 0) -> None:
        self._file = path.open("a", encoding="utf-8", newline="\n")
        self._waiting: dict[int, StepMetrics] = {}
        self._logged: dict[int, LoggedScalars] = {}
        self._parts: list[float] = []
        self._validated: dict[int, float] = {}
        self._last_logged = first_step

    def __enter__(self) -> Recorder:  # noqa: PYI034 - typing.Self needs Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._file.close()

    def step(self, metric: StepMetrics) -> None:
        """Add a step from the bar and the driver. Repeated steps are ignored."""
        self._waiting.setdefault(metric.step, metric)

    def log(self, logged: Iterable[LoggedScalars]) -> None:
        """Add what the trainer has logged."""
        for scalars in logged:
            loss = _first(scalars.values, _LOSSES)
            if loss is None:  # epoch means and validation number differently; or the rest of a step
                self._complete(scalars)
                self._validate(scalars)
                continue
            self._parts.append(loss)
            if scalars.step <= self._last_logged:
                continue  # part of the next step, as gradients are accumulated
            mean = sum(self._parts) / len(self._parts)
            self._logged[scalars.step] = LoggedScalars(scalars.step, {**scalars.values, "loss": mean})
            self._last_logged, self._parts = scalars.step, []
            self._validate(scalars)

    def _validate(self, scalars: LoggedScalars) -> None:
        """Validation is logged by epoch, after the step that it belongs to."""
        loss = _first(scalars.values, _VALIDATION)
        if loss is not None:
            self._validated[self._last_logged] = loss

    def _complete(self, rest: LoggedScalars) -> None:
        """Add values that were not written yet when the step's loss was read."""
        begun = self._logged.get(rest.step)
        if begun is not None:
            self._logged[rest.step] = replace(begun, values={**rest.values, **begun.values})

    @property
    def is_settled(self) -> bool:
        """Whether every reported step is logged, including the rates, which come last."""
        logged = {step for step, scalars in self._logged.items() if any(map(_is_rate, scalars.values))}
        return self._waiting.keys() <= logged

    def ready(self, *, ended: bool = False) -> Iterator[StepMetrics]:
        """Write and yield complete steps in order: all but the last, or all once the run has `ended`."""
        newest = max(self._waiting, default=0)
        for step in sorted(self._waiting):
            if step == newest and not ended:
                return
            metric = _joined(self._waiting.pop(step), self._logged.pop(step, None))
            due = [self._validated.pop(each) for each in sorted(self._validated) if each <= step]
            metric = replace(metric, validation_loss=due[-1]) if due else metric
            # On a full disk the trainer fails by itself, and the disk guard warns the user.
            with contextlib.suppress(OSError):
                self._file.write(metric.line + "\n")
                self._file.flush()
            yield metric


def _joined(metric: StepMetrics, logged: LoggedScalars | None) -> StepMetrics:
    if logged is None:
        return metric
    rates = {name.removeprefix(_RATE): rate for name, rate in logged.values.items() if _is_rate(name)}
    # v0.10.1 logs the last parameter group twice, the second time by number.
    named = {name: rate for name, rate in rates.items() if not name.startswith("group")}
    mean = _first(logged.values, _MEANS)
    average = metric.average_loss if mean is None else mean
    return replace(metric, loss=logged.values["loss"], average_loss=average, rates=named or rates)


def _is_rate(name: str) -> bool:
    return name == _ONLY_RATE or name.startswith(_RATE)


def _first(values: Mapping[str, float], names: Iterable[str]) -> float | None:
    return next((values[name] for name in names if name in values), None)
