"""Find the fastest way to train on this machine by real training steps: pictures a second over batch and settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from sdxl_train_cli.dataset import folders, largest_bucket
from sdxl_train_cli.dataset.bucketing import Bucket
from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import DatasetError
from sdxl_train_cli.memory import requirement
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Recipe, Setting
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.run import smoke, trial
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.run.smoke import SmokeSize
from sdxl_train_cli.run.trial import Trial

CHECKPOINTING = "gradient_checkpointing"
GAIN = 1.03
"""A larger batch that brings fewer pictures a second than this many times those before is the last one tried."""
HOPELESS = 0.8
"""Share of the estimate's lower end that must fit for a trial: `--fast` needs up to a fifth less."""


@dataclass(frozen=True)
class SpeedSettings:
    """Settings that change speed and memory, but not what is learned."""

    checkpointing: bool
    fast: bool

    def __str__(self) -> str:
        return f"{'with' if self.checkpointing else 'without'} gradient checkpointing{', --fast' if self.fast else ''}"


@dataclass(frozen=True)
class TriedSettings:
    """One batch size with its settings and its trial."""

    settings: SpeedSettings
    batch_size: int
    prepared: Prepared
    trial: Trial

    @property
    def pictures_per_second(self) -> float | None:
        """Speed. None if it does not fit or is unknown."""
        seconds = self.trial.seconds_per_step
        return self.batch_size / seconds if self.trial.fits and seconds else None


@dataclass(frozen=True)
class FitActions:
    """The real preparation and launch, and a progress report, supplied by the command."""

    prepare: Callable[[Choices], Prepared]
    carry_out: Callable[[Prepared], Trial]
    report: Callable[[str], None]


@dataclass(frozen=True)
class FitLimits:
    """How far to search."""

    most: int
    """Largest batch."""
    seconds: float
    """No trial is begun that would probably end later."""


@dataclass
class Fitted:
    """What was tried, and what was not."""

    real: Prepared
    """The run as it was asked for."""
    bucket: Bucket
    """The largest bucket of its pictures."""
    tried: list[TriedSettings] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """What was not tried and why, one line each."""

    @property
    def recipe(self) -> Recipe:
        """The recipe as the dataset of the largest bucket trains with it."""
        return self.bucket.part.applied(self.real.recipe)

    @property
    def asked(self) -> SpeedSettings:
        """The settings as they were asked for."""
        return SpeedSettings(self.real.recipe.is_on(CHECKPOINTING), fast=False)

    @property
    def batch_size(self) -> int:
        """The batch size as it was asked for."""
        return self.bucket.batch_size

    @property
    def as_asked(self) -> TriedSettings | None:
        """The trial of the run as it was asked for."""
        return self.trial_of(self.asked, self.batch_size)

    def trial_of(self, settings: SpeedSettings, batch_size: int) -> TriedSettings | None:
        """The trial of these settings. None if they were not tried."""
        wanted = (settings, batch_size)
        return next((each for each in self.tried if (each.settings, each.batch_size) == wanted), None)

    @property
    def fastest(self) -> TriedSettings | None:
        """The most pictures a second. If no speed is known, the largest batch that fits; None if none fits."""
        fits = [each for each in self.tried if each.trial.fits]
        return max(fits, key=lambda each: (each.pictures_per_second or 0.0, each.batch_size), default=None)

    @property
    def ranked(self) -> list[TriedSettings]:
        """Fastest first, what does not fit last."""
        return sorted(self.tried, key=lambda each: (-(each.pictures_per_second or 0.0), not each.trial.fits))


def sizes(most: int) -> Iterator[int]:
    """Batch sizes to try in turn: each twice the last, up to `most`."""
    size = 1
    while size < most:
        yield size
        size *= 2
    yield most


def run(asked: Choices, limits: FitLimits, folder: Path, actions: FitActions) -> Fitted:
    """Try settings with growing batches until memory, gain or time ends.

    Everything is written under `folder`. Raises what the real command would raise, and TrainingError for a failure
    other than memory.
    """
    real = actions.prepare(replace(asked, check_vram=False))
    bucket = largest_bucket.largest(real.recipe, folders.files(real.pictures))
    if bucket is None:
        raise DatasetError("no picture can be read", "see what is wrong with --data")
    actions.report(f"the largest bucket of these pictures: {bucket.width}x{bucket.height}; a few real steps each")
    search = _FitSearch(asked, Fitted(real, bucket), folder, actions, limits)
    search.begin()
    for settings in _candidates(asked, real):
        search.climb(settings)
    return search.found


def on_processor(asked: Choices, installed: Environment, folder: Path, pictures: Path | None) -> Choices:
    """The same run with a scaled-down random model on the processor, for machines without a GPU.

    If `pictures` is None, some are generated.
    """
    scaled = environment.abilities(installed).not_scaled is None
    size = SmokeSize(trial.TIMED_STEPS, scaled=scaled, gpu_index=None)
    material = smoke.make_material(installed, folder / "material", size)
    small = smoke.choices(asked.kind, material, folder, size, eight_bit=installed.lock.eight_bit)
    small_overrides = [one for one in small.overrides if one.option != "token_string" or asked.trigger is None]
    own = {override.option for override in small_overrides}
    kept = tuple(override for override in asked.overrides if override.option not in own)
    return replace(
        small,
        preset=asked.preset,
        data=material.pictures if pictures is None else pictures,
        overrides=(*kept, *small_overrides),
        trigger=asked.trigger or small.trigger,
        repeats=asked.repeats,
    )


def _candidates(asked: Choices, real: Prepared) -> list[SpeedSettings]:
    """Settings to try with growing batches. A value that was set by hand is kept."""
    by_hand = any(override.option == CHECKPOINTING for override in asked.overrides)
    checkpointing = [real.recipe.is_on(CHECKPOINTING)] if by_hand else [False, True]
    fast = asked.kind.is_network and real.environment.trains
    return [SpeedSettings(each, fast) for each in checkpointing]


@dataclass
class _FitSearch:
    """What all trials share."""

    asked: Choices
    found: Fitted
    folder: Path
    actions: FitActions
    limits: FitLimits
    began: float = field(default_factory=time.monotonic)
    longest: float = 0.0
    """Seconds of the longest trial so far."""

    def begin(self) -> None:
        """Try the run as it was asked for: everything is compared with it."""
        size = min(self.found.batch_size, self.limits.most)
        if self._may_try(self.found.asked, size):
            self._try(self.found.asked, size)

    def climb(self, settings: SpeedSettings) -> None:
        """Try growing batches until one does not fit or brings nothing more."""
        before: TriedSettings | None = None
        for size in sizes(self.limits.most):
            known = self.found.trial_of(settings, size)
            if known is None and not self._may_try(settings, size):
                return
            tried = known or self._try(settings, size)
            if not tried.trial.fits:
                self._try_between(settings, before, size)
                return
            if before is not None and not _gains(before, tried):
                return
            before = tried

    def _try_between(self, settings: SpeedSettings, fits: TriedSettings | None, fails: int) -> None:
        """Try the size halfway between the last that fits and the one that does not."""
        between = 0 if fits is None else (fits.batch_size + fails) // 2
        if fits is not None and between > fits.batch_size and self._may_try(settings, between):
            self._try(settings, between)

    def _may_try(self, settings: SpeedSettings, size: int) -> bool:
        """Whether a trial is worth its time. If not, the reason is kept."""
        why = self._why_not(settings, size)
        if why is not None:
            self.found.left_out.append(f"batch {size} {settings}: {why}")
        return why is None

    def _why_not(self, settings: SpeedSettings, size: int) -> str | None:
        device, recipe = self.found.real.device, self.found.recipe
        if device is not None:
            changes = {CHECKPOINTING: settings.checkpointing, "train_batch_size": size}
            origin = Origin("fit")
            changed = {option: Setting(value=value, origin=origin) for option, value in changes.items()}
            need = requirement.need(recipe.replaced(changed))
            if HOPELESS * need.low_gib > device.free_gib:
                return f"needs {need}, and {device.free_gib:.1f} GB are free"
        if self.found.tried and time.monotonic() - self.began + self.longest > self.limits.seconds:
            return "time ran out"
        return None

    def _try(self, settings: SpeedSettings, size: int) -> TriedSettings:
        """Run one trial on fresh pictures, so that no cache of an earlier one saves it work."""
        began = time.monotonic()
        place = self.folder / f"trial-{len(self.found.tried) + 1}"
        placed = [each.picture for each in self.found.bucket.placed[:size]]
        trial.write_pictures(placed, place / "pictures", self.found.recipe.get("token_string"))
        changed = Override(CHECKPOINTING, settings.checkpointing, Origin("fit"))
        asked = replace(self.asked, fast=settings.fast, overrides=(*self.asked.overrides, changed))
        recipe = self.found.recipe
        prepared = self.actions.prepare(trial.choices(asked, recipe, place, size, trial.TIMED_STEPS))
        tried = TriedSettings(settings, size, prepared, self.actions.carry_out(prepared))
        self.found.tried.append(tried)
        self.longest = max(self.longest, time.monotonic() - began)
        return tried


def _gains(before: TriedSettings, now: TriedSettings) -> bool:
    """Whether the larger batch was worth it. Unknown speeds count as a gain."""
    pace, known = now.pictures_per_second, before.pictures_per_second
    return pace is None or known is None or pace >= GAIN * known
