"""Find the largest batch that fits by real training steps with growing batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sdxl_train_cli.dataset import folders, largest_bucket
from sdxl_train_cli.dataset.bucketing import Bucket
from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import DatasetError
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.run import smoke, trial
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.run.smoke import SmokeSize
from sdxl_train_cli.run.trial import Trial

FIRST = (1, 2, 3, 4, 6, 8)
"""Batch sizes tried first. After that, each is half as large again."""


@dataclass(frozen=True)
class TriedBatch:
    """One batch size and its trial."""

    batch_size: int
    width: int
    height: int
    prepared: Prepared
    trial: Trial


@dataclass(frozen=True)
class FitActions:
    """The real preparation and launch, and a progress report, supplied by the command."""

    prepare: Callable[[Choices], Prepared]
    carry_out: Callable[[Prepared], Trial]
    report: Callable[[str], None]


def sizes(most: int) -> Iterator[int]:
    """Growing batch sizes up to `most`, which is the last."""
    size = 0
    while size < most:
        size = next((first for first in FIRST if first > size), size * 3 // 2)
        yield min(size, most)


def run(asked: Choices, most: int, folder: Path, actions: FitActions) -> list[TriedBatch]:
    """Try growing batches, then sizes between the last that fits and the first that does not.

    Everything is written under `folder`. Raises what the real command would raise, and TrainingError for a failure
    other than memory.
    """
    real = actions.prepare(replace(asked, check_vram=False))
    bucket = largest_bucket.largest(real.recipe, folders.files(real.pictures))
    if bucket is None:
        raise DatasetError("no picture can be read", "see what is wrong with --data")
    actions.report(
        f"the largest bucket of these pictures: {bucket.width}x{bucket.height}; {trial.STEPS} steps for each batch size"
    )
    search = _FitSearch(asked, real.recipe, bucket, folder)
    found: list[TriedBatch] = []
    for size in sizes(most):
        found.append(search.try_batch(size, actions))
        if not found[-1].trial.fits:
            break
    fits, fails = _border(found)
    while fails is not None and fails - fits > 1:
        found.append(search.try_batch((fits + fails) // 2, actions))
        fits, fails = _border(found)
    return sorted(found, key=lambda each: each.batch_size)


def largest(found: list[TriedBatch]) -> TriedBatch | None:
    """The largest batch that fits, or None."""
    return max(
        (each for each in found if each.trial.fits),
        key=lambda each: each.batch_size,
        default=None,
    )


def on_processor(asked: Choices, installed: Environment, folder: Path, pictures: Path | None) -> Choices:
    """The same run with a scaled-down random model on the processor, for machines without a GPU.

    If `pictures` is None, some are generated.
    """
    scaled = environment.abilities(installed).not_scaled is None
    size = SmokeSize(trial.STEPS, scaled=scaled, gpu_index=None)
    material = smoke.make_material(installed, folder / "material", size)
    small = smoke.choices(asked.kind, material, folder, size, eight_bit=installed.lock.eight_bit)
    own = {override.option for override in small.overrides}
    kept = tuple(override for override in asked.overrides if override.option not in own)
    return replace(
        small,
        preset=asked.preset,
        data=material.pictures if pictures is None else pictures,
        overrides=(*kept, *small.overrides),
        trigger=asked.trigger,
        repeats=asked.repeats,
    )


def _border(found: list[TriedBatch]) -> tuple[int, int | None]:
    fits = max((each.batch_size for each in found if each.trial.fits), default=0)
    fails = min((each.batch_size for each in found if not each.trial.fits), default=None)
    return fits, fails


@dataclass(frozen=True)
class _FitSearch:
    """What all trials share."""

    asked: Choices
    recipe: Recipe
    """The real run's recipe."""
    bucket: Bucket
    folder: Path

    def try_batch(self, size: int, actions: FitActions) -> TriedBatch:
        """Run one trial on fresh pictures, so that no cache of an earlier one saves it work."""
        place = self.folder / f"batch-{size}"
        shown = [placed.picture for placed in self.bucket.placed[:size]]
        trial.write_pictures(shown, place / "pictures")
        prepared = actions.prepare(trial.choices(self.asked, self.recipe, place, size))
        return TriedBatch(size, self.bucket.width, self.bucket.height, prepared, actions.carry_out(prepared))
