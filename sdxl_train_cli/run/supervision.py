"""What is known of a run while it goes on: lines, figures and files become events, and guards look at them."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import median
from types import TracebackType

from sdxl_train_cli.records import storage
from sdxl_train_cli.records.metrics import Recorder, StepMetrics
from sdxl_train_cli.records.runs import Run
from sdxl_train_cli.run import guards, samples
from sdxl_train_cli.run.guards import Alarm, Guard, Guards
from sdxl_train_cli.run.samples import NewSamples
from sdxl_train_cli.run.telemetry import ResourceSample, Sampler
from sdxl_train_cli.sdscripts import progress
from sdxl_train_cli.sdscripts.progress import Length, ModelSaved, NoData, Step, TrainerNotice
from sdxl_train_cli.sdscripts.scalars import EventFileTail, event_files

LAST_LINES = 400
"""Lines of output that a diagnosis looks at."""
LOOK_SECONDS = 2.0
"""How often the driver and the log are asked: half a per mille of a core each."""
SLOW_LOOK_SECONDS = 20.0
"""How often the disk and the samples are."""
_SPEED_STEPS = 50
_MOST_TOLD = 500
"""Events of one second that are told: more are a flood, in which nobody sees one, and which telling would slow down."""


@dataclass(frozen=True)
class SampleDrawn:
    """A sample picture was drawn."""

    path: str


@dataclass(frozen=True)
class ResourceUse:
    """What the run takes at this moment."""

    gpu_used_gib: float | None
    gpu_total_gib: float | None
    gpu_power_watts: float | None
    resident_gib: float


Event = progress.Event | StepMetrics | Alarm | SampleDrawn | ResourceUse


@dataclass(frozen=True)
class Conditions:
    """What a run is watched under."""

    gpu_index: int | None = None
    first_step: int = 0
    """Steps that an earlier attempt has made: the trainer's own bar counts from 0 again."""
    steps: int | None = None
    """Of the whole run, where it is known before the trainer tells."""
    guards_off: frozenset[Guard] = frozenset()
    saving_gib: float = 0.0
    """What the next checkpoint and state take on disk."""


class Supervision:
    """The story so far. Events come from `hear`, for a line of output, and from `look`, called between lines."""

    def __init__(self, run: Run, conditions: Conditions, pid: int, activity: Callable[[], str]) -> None:
        self._run, self._conditions, self._activity = run, conditions, activity
        self._guards = Guards(conditions.guards_off)
        self._tail = EventFileTail(run.logs, event_files(run.logs))
        self._recorder = Recorder(run.metrics)
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
        """The most GPU memory that the run's processes held; None without a GPU, or where the driver does not tell."""
        return self._sampler.peak_gib

    @property
    def seconds_per_step(self) -> float | None:
        """The median of the last steps."""
        return median(self._seconds) if self._seconds else None

    @property
    def is_settled(self) -> bool:
        """Whether all is known of the steps that were told: sd-scripts saves its files between telling and logging."""
        return self._recorder.is_settled or not self._tail.has_begun

    def hear(self, line: str) -> Iterator[Event]:
        """Take one line of output."""
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
        """Whether an event goes on: a warning does once, and of a flood of others a share."""
        if isinstance(event, TrainerNotice):
            is_new = event not in self._told
            self._told.add(event)
            return is_new
        second = int(self._heard_at)
        self._told_in_it = self._told_in_it + 1 if second == self._second else 1
        self._second = second
        return self._told_in_it <= _MOST_TOLD

    def look(self) -> Iterator[Event]:
        """Look around, if it is time; cheap enough to be called between any two lines."""
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
        if now - self._looked_slowly_at >= SLOW_LOOK_SECONDS:
            self._looked_slowly_at = now
            yield from self._files()

    def close(self) -> Iterator[Event]:
        """Take what came last, once the trainer has ended."""
        yield from self.figures(ended=True)
        yield from self._files()

    def _counted(self, bar: Step) -> Step:
        """The step in the whole run's own count, with the time left by the last steps' median."""
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
        """Take what the trainer has logged; with `ended`, of steps that it never will too."""
        self._recorder.log(self._tail.read())
        for metric in self._recorder.ready(ended=ended):
            self.loss = metric.shown_loss if metric.shown_loss is not None else self.loss
            if self.loss is not None and math.isfinite(self.loss):
                self.sound_until = metric.time
            yield metric
            yield from self._noted(self._guards.look(metric))

    def _noted(self, alarms: list[Alarm]) -> Iterator[Event]:
        for alarm in alarms:
            if alarm.stops and self.fatal is None:
                self.fatal = alarm
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
