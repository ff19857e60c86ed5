"""Views of a running training: a live display on a terminal, occasional lines elsewhere, or JSON lines."""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from types import TracebackType

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sdxl_train_cli import formatting, visible
from sdxl_train_cli.errors import Problem
from sdxl_train_cli.records.metrics import StepMetrics
from sdxl_train_cli.run.examination import ResultExamined
from sdxl_train_cli.run.guards import Alarm
from sdxl_train_cli.run.supervision import Event, ResourceUse, SampleDrawn
from sdxl_train_cli.sdscripts.progress import (
    CheckpointSaving,
    Epoch,
    Step,
    Stopping,
    Subtask,
    TrainerNotice,
    TrainerPhase,
    Validated,
)
from sdxl_train_cli.ui import console

_PLAIN_SHARE = 0.05
"""Share of steps for which a pipe or log gets a line."""
_PLAIN_SECONDS = 60.0
_REFRESHES = 4
"""Refreshes per second."""
_SPARK = "▁▂▃▄▅▆▇█"
_SPARK_POINTS = 32
_SPARK_STEPS = 512
"""Steps covered by the sparkline. Each of its points is a mean."""


class LiveView:
    """Base of all views: prints warnings as they come, and restores the terminal when left."""

    def __enter__(self) -> LiveView:  # noqa: PYI034 - typing.Self needs Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return

    def show(self, event: Event) -> None:
        """Show one event of the run."""
        if isinstance(event, Alarm) and not event.stops:
            console.warn(event.problem)
        elif isinstance(event, TrainerNotice):
            console.warn(Problem(event.words, event.remedy))
        elif isinstance(event, ResultExamined):
            if not event.is_result:  # the last line of the run tells of it
                console.note(f"{event.file}: {event.summary}")
            for problem in event.problems:
                console.warn(problem)


class PlainView(LiveView):
    """Lines for a pipe, log or CI: each phase, each file, and some steps."""

    def __init__(self) -> None:
        self._told_step = 0
        self._told_at = -math.inf
        self._phase = ""

    def show(self, event: Event) -> None:
        """Show one event of the run."""
        super().show(event)
        if isinstance(event, Step):
            self._step(event)
        elif isinstance(event, TrainerPhase) and event.words != self._phase:
            self._phase = event.words
            console.note(event.words)
        elif isinstance(event, CheckpointSaving):
            console.note(f"saving {event.path}")
        elif isinstance(event, SampleDrawn):
            console.note(f"sample {event.path}")
        elif isinstance(event, Validated):
            self._phase = ""

    def _step(self, event: Step) -> None:
        due = event.step - self._told_step >= max(1, _PLAIN_SHARE * event.steps) or event.step == event.steps
        late = time.monotonic() - self._told_at >= _PLAIN_SECONDS
        if event.step > self._told_step and (due or late):
            self._told_step, self._told_at = event.step, time.monotonic()
            console.note(f"step {event.step} of {event.steps}  {'  '.join(step_facts(event))}".rstrip())


class JsonView(LiveView):
    """Print events as JSON lines on stdout: `{"event": "step", "step": 12, ...}`."""

    def show(self, event: Event) -> None:
        """Print one event of the run."""
        console.out(event_line(event))


class TerminalView(LiveView):
    """Phase, bar, loss, rate, memory, speed, time left and the last files. Warnings scroll above."""

    def __init__(self) -> None:
        self._phase, self._part = "starting", ""
        self._stopping = ""
        self._step: Step | None = None
        self._epoch: Epoch | None = None
        self._load: ResourceUse | None = None
        self._rates = ""
        self._validated: float | None = None
        self._losses: deque[float] = deque(maxlen=_SPARK_STEPS)
        self._files: dict[str, str] = {}
        self._started = time.monotonic()
        self._live = Live(
            get_renderable=self.picture, console=console.err, refresh_per_second=_REFRESHES, transient=True
        )

    def __enter__(self) -> TerminalView:  # noqa: PYI034 - typing.Self needs Python 3.11
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, event: Event) -> None:
        """Show one event of the run."""
        super().show(event)
        match event:
            case Step():
                self._step, self._phase, self._part = event, self._stopping or "training", ""
            case StepMetrics():
                self._take(event)
            case TrainerPhase():
                self._stopping = event.words if isinstance(event, Stopping) else self._stopping
                self._phase, self._part = self._stopping or event.words, ""
            case Subtask():
                self._part = f"{event.done}/{event.total}"
            case Epoch():
                self._epoch = event
            case ResourceUse():
                self._load = event
            case Validated():
                self._validated = event.loss
            case CheckpointSaving():
                self._files["saved"] = Path(event.path).name
            case SampleDrawn():
                self._files["sample"] = Path(event.path).name
            case _:
                pass

    def _take(self, metric: StepMetrics) -> None:
        if metric.loss is not None and math.isfinite(metric.loss):
            self._losses.append(metric.loss)
        if metric.rates:
            self._rates = "  ".join(f"{name} {rate:.3g}" for name, rate in metric.rates.items())

    def picture(self) -> RenderableType:
        """The current display."""
        lines = (Text(visible.line(line), no_wrap=True, overflow="ellipsis") for line in self._lines() if line)
        return Group(self._bar(), *lines)

    def _bar(self) -> RenderableType:
        step = self._step
        grid = Table.grid(padding=(0, 1))
        count = f"{step.step}/{step.steps}" if step else self._part
        share = f"{100 * step.step / step.steps:.0f} %" if step and step.steps else ""
        epoch = f"epoch {self._epoch.epoch}/{self._epoch.epochs}" if self._epoch else ""
        bar = ProgressBar(
            total=step.steps if step else None, completed=step.step if step else 0, width=30, pulse=step is None
        )
        spent = formatting.clock(time.monotonic() - self._started)
        phase = Text(visible.line(self._phase), style="bold")
        grid.add_row(phase, bar, Text(count), Text(share), Text(epoch), Text(spent, "dim"))
        return grid

    def _lines(self) -> list[str]:
        loss = loss_facts(self._step) if self._step else []
        speed = speed_facts(self._step) if self._step else []
        rates = [f"lr {self._rates}"] if self._rates else []
        validated = [] if self._validated is None else [f"validation {self._validated:.4f}"]
        return [
            "   ".join([*loss, sparkline(self._losses), *validated, *rates, *speed]).strip(),
            "   ".join(load_facts(self._load)) if self._load else "",
            "   ".join(f"{what} {name}" for what, name in self._files.items()),
        ]


def view(*, as_json: bool) -> LiveView:
    """The view that suits the output."""
    if as_json:
        return JsonView()
    return TerminalView() if console.err.is_terminal else PlainView()


def event_line(event: Event) -> str:
    """An event as one line of JSON: its class name in lower case, and its fields."""
    name = type(event).__name__.lower()
    if isinstance(event, StepMetrics):
        return visible.as_json({"event": name, **json.loads(event.line)})
    facts = {key: _plain(value) for key, value in asdict(event).items()}
    return visible.as_json({"event": name, **facts})


def _plain(value: object) -> object:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def step_facts(event: Step) -> list[str]:
    """Loss, speed and time left in words."""
    return [*loss_facts(event), *speed_facts(event)]


def loss_facts(event: Step) -> list[str]:
    """The loss in words. Empty if the step has none."""
    return [] if event.loss is None else [f"loss {event.loss:.4f}"]


def speed_facts(event: Step) -> list[str]:
    """Speed and time left in words."""
    facts = []
    if event.seconds_per_step:
        slow = event.seconds_per_step >= 1
        facts.append(f"{event.seconds_per_step:.2f} s/step" if slow else f"{1 / event.seconds_per_step:.2f} steps/s")
    if event.seconds_left is not None and event.step < event.steps:
        facts.append(f"{formatting.clock(event.seconds_left)} left")
    return facts


def load_facts(load: ResourceUse) -> list[str]:
    """Memory and power in words, as far as the driver reports them."""
    facts = []
    if load.gpu_used_gib is not None:
        total = "" if load.gpu_total_gib is None else f" of {load.gpu_total_gib:.1f}"
        facts.append(f"VRAM {load.gpu_used_gib:.1f}{total} GB")
    facts.append(f"RAM {load.resident_gib:.1f} GB")
    if load.gpu_power_watts is not None:
        facts.append(f"{load.gpu_power_watts:.0f} W")
    return facts


def sparkline(losses: Sequence[float]) -> str:
    """The losses as a row of small bars, each the mean of an equal share. Empty for fewer than two."""
    values = list(losses)
    points = min(_SPARK_POINTS, len(values) // 2)
    if points < 2 or not console.can_encode(_SPARK, console.err.encoding):  # noqa: PLR2004 - one point is not a line
        return ""
    edges = [round(number * len(values) / points) for number in range(points + 1)]
    means = [sum(part) / len(part) for start, end in pairwise(edges) if (part := values[start:end])]
    low, high = min(means), max(means)
    span = high - low or 1
    return "".join(_SPARK[round((mean - low) / span * (len(_SPARK) - 1))] for mean in means)
