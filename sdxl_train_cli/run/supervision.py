"""Supervise a running training: its output, metrics and files become events, checked by guards."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from statistics import median
from types import TracebackType

from sdxl_train_cli.failures.remedies import RunFacts
from sdxl_train_cli.records import storage
from sdxl_train_cli.records.metrics import Recorder, StepMetrics
from sdxl_train_cli.records.runs import Run
from sdxl_train_cli.run import guards, samples
from sdxl_train_cli.run.early_spill import UsualSpeed
from sdxl_train_cli.run.examination import ResultExamined
from sdxl_train_cli.run.guards import Alarm, Guard, Guards
from sdxl_train_cli.run.samples import NewSamples
from sdxl_train_cli.run.telemetry import ResourceSample, Sampler
from sdxl_train_cli.sdscripts import progress
from sdxl_train_cli.sdscripts.progress import Length, ModelSaved, NoData, Step, TrainerNotice
from sdxl_train_cli.sdscripts.scalars import EventFileTail, event_files

LAST_LINES = 400
"""Lines of output available for a diagnosis."""
LOOK_SECONDS = 2.0
"""Interval for asking the driver and reading the log: each costs half a per mille of a core."""
SLOW_LOOK_SECONDS = 20.0
"""Interval for checking the disk and the samples."""
_SPEED_STEPS = 50
_MOST_TOLD = 500
"""Events reported per second. A flood is unreadable, and reporting it would slow the run down."""


@dataclass(frozen=True)
class SampleDrawn:
    """A sample picture was drawn."""

    path: str


@dataclass(frozen=True)
class ResourceUse:
    """Current resource use of the run."""

    gpu_used_gib: float | None
    gpu_total_gib: float | None
    gpu_power_watts: float | None
    resident_gib: float


Event = progress.Event | StepMetrics | Alarm | SampleDrawn | ResourceUse | ResultExamined


@dataclass(frozen=True)
class Conditions:
    """Conditions to supervise a run under."""

    gpu_index: int | None = None
    first_step: int = 0
    """Steps made by earlier attempts: the trainer's own bar restarts at 0."""
    steps: int | None = None
    """Steps of the whole run, if known before the trainer reports them."""
    guards_off: frozenset[Guard] = frozenset()
    saving_gib: float = 0.0
    """Disk space for the next checkpoint and state."""
    facts: RunFacts = field(default_factory=RunFacts)
    """What remedies depend on."""
    usual: UsualSpeed | None = None
    """What a step takes on this card. None if that is not known."""
    saves_on_stop: bool = False
    """Whether the trainer saves a state when it is asked to end."""
    is_shared: bool = False
    """Whether several processes train together."""
    ends_early: Callable[[], str | None] | None = None
    """Asked now and then: why to stop the run, or None."""


class Supervision:
    """State of a running training. `hear` turns a line of output into events; `look` is called between lines."""

    def __init__(self, run: Run, conditions: Conditions, pid: int, activity: Callable[[], str]) -> None:
        self._run, self._conditions, self._activity = run, conditions, activity
        self._guards = Guards(conditions.guards_off, conditions.facts, conditions.usual)
        self._tail = EventFileTail(run.logs, event_files(run.logs))
        self._recorder = Recorder(run.metrics, conditions.first_step)
        self._sampler = Sampler(pid, conditions.gpu_index)
        self._samples = NewSamples(run.samples)
        self._sample = ResourceSample(None, None, None, None, 0.0)
        self._seconds: deque[float] = deque(maxlen=_SPEED_STEPS)
        self._step_at: float | None = None
        self._heard_at = self._looked_at = self._looked_slowly_at = time.monotonic()
        self._steps = conditions.steps
        self._told = set[TrainerNotice]()
        self._second, self._told_in_it = 0, 0
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self.step: Step | None = None
        self.loss: float | None = None
        self.finished = self.no_data = False
        self.fatal: Alarm | None = None
        """What has made going on worthless."""
        self.pruned: str | None = None
        """Why the run is to be stopped early, though nothing is wrong with it."""
        self.sound_until: float | None = None
        """Unix seconds of the last step whose loss was a number."""

    def __enter__(self) -> Supervision:  # noqa: PYI034 - typing.Self needs Python 3.11
        self._recorder.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._sampler.close()
        self._recorder.__exit__(kind, value, traceback)

    @property
    def peak_gib(self) -> float | None:
        """Peak GPU memory of the run's processes. None without a GPU, or if the driver does not report it."""
        return self._sampler.peak_gib

    @property
    def facts(self) -> RunFacts:
        """What remedies depend on."""
        return self._conditions.facts

    @property
    def seconds_per_step(self) -> float | None:
        """Median of the last steps."""
        return median(self._seconds) if self._seconds else None

    @property
    def is_settled(self) -> bool:
        """Whether all reported steps are logged: sd-scripts saves files between reporting a step and logging it."""
        return self._recorder.is_settled or not self._tail.has_begun

    def hear(self, line: str) -> Iterator[Event]:
        """Process one line of output."""
        self._heard_at = time.monotonic()
        bar, words = progress.split(line)
        if words.strip():
            self.last_lines.append(words)
        event = progress.parse(words)
        self.finished |= isinstance(event, ModelSaved)
        self.no_data |= isinstance(event, NoData)
        if isinstance(event, Length):
            self._steps = event.steps
        if bar is not None:
            step = self._counted(bar)
            if self._is_told(step):
                yield step
            yield from self.figures()
        if event is not None and self._is_told(event):
            yield event

    def _is_told(self, event: progress.Event) -> bool:
        """Whether to report an event: a warning once, and only some events of a flood."""
        if isinstance(event, TrainerNotice):
            is_new = event not in self._told
            self._told.add(event)
            return is_new
        second = int(self._heard_at)
        self._told_in_it = self._told_in_it + 1 if second == self._second else 1
        self._second = second
        return self._told_in_it <= _MOST_TOLD

    def look(self) -> Iterator[Event]:
        """Check files and resources when due. Cheap enough to call between any two lines."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        self._sample = self._sampler.sample()
        yield ResourceUse(
            self._sample.used_gib, self._sample.gpu_total_gib, self._sample.power_watts, self._sample.resident_gib
        )
        yield from self.figures()
        if self._guards.is_on(Guard.SILENCE):
            yield from self._guards.hear(guards.silence(now - self._heard_at, self.seconds_per_step, self._activity))
        if self._conditions.ends_early is not None and self.pruned is None:
            self.pruned = self._conditions.ends_early()
        if now - self._looked_slowly_at >= SLOW_LOOK_SECONDS:
            self._looked_slowly_at = now
            yield from self._files()

    def close(self) -> Iterator[Event]:
        """Yield the last events after the trainer has ended."""
        yield from self.figures(ended=True)
        yield from self._files()

    def _counted(self, bar: Step) -> Step:
        """The step as numbered in the whole run, with the time left by the median of the last steps."""
        done = self._conditions.first_step + bar.step
        steps = self._steps or self._conditions.first_step + bar.steps
        is_new = self.step is None or done > self.step.step
        if bar.step > 0 and is_new:
            now = time.monotonic()
            seconds = None if self._step_at is None else now - self._step_at
            self._step_at = now
            if seconds is not None:
                self._seconds.append(seconds)
            self._recorder.step(self._metric(done, bar.loss, seconds))
        elif self._step_at is None:
            self._step_at = time.monotonic()  # the bar at 0: the first step begins
        speed = self.seconds_per_step or bar.seconds_per_step
        left = None if speed is None else speed * (steps - done)
        self.step = replace(bar, step=done, steps=steps, seconds_per_step=speed, seconds_left=left)
        return self.step

    def _metric(self, step: int, average_loss: float | None, seconds: float | None) -> StepMetrics:
        return StepMetrics(
            step,
            time.time(),
            average_loss=average_loss,
            seconds=seconds,
            gpu_used_gib=self._sample.used_gib,
            gpu_total_gib=self._sample.gpu_total_gib,
            gpu_power_watts=self._sample.power_watts,
        )

    def figures(self, *, ended: bool = False) -> Iterator[Event]:
        """Process what the trainer has logged. With `ended`, also steps that will never be logged."""
        self._recorder.log(self._tail.read())
        for metric in self._recorder.ready(ended=ended):
            self.loss = metric.shown_loss if metric.shown_loss is not None else self.loss
            if self.loss is not None and math.isfinite(self.loss):
                self.sound_until = metric.time
            yield metric
            yield from self._noted(self._guards.look(metric, self._length, self._sample.gpu_used_gib))

    @property
    def _length(self) -> int | None:
        return self._steps or (self.step.steps if self.step else None)

    def _noted(self, alarms: list[Alarm]) -> Iterator[Event]:
        for alarm in alarms:
            if alarm.stops and self.fatal is None:
                self.fatal = alarm
                self.sound_until = alarm.sound_until or self.sound_until
            yield alarm

    def _files(self) -> Iterator[Event]:
        if self._guards.is_on(Guard.DISK):
            with contextlib.suppress(OSError):
                free_gib = storage.free_gib(self._run.folder)
                yield from self._guards.hear(guards.disk(free_gib, self._conditions.saving_gib, str(self._run.folder)))
        for path in self._samples.new():
            yield SampleDrawn(str(path))
            spread = samples.color_spread(path) if self._guards.is_on(Guard.SAMPLES) else None
            if spread is not None:
                yield from self._guards.hear(guards.sample(path.name, spread))
