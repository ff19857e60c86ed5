"""How long a grid takes to draw: by the pace of an earlier one, or by the run's own steps on the same GPU."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from sdxl_train_cli import formatting
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.ranking.grid import Grid, GridCell, GridPrompt, Pace
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.run import step_cost
from sdxl_train_cli.sdscripts import buckets

PROCESSOR = "processor"
_PASSES = 2
"""With guidance, the U-Net sees each step's picture twice."""
_UNSURE = 2.0
"""By what factor a pace taken from training steps may be wrong either way."""
_LOADING = 10.0, 90.0
"""Seconds to load SDXL from a fast disk, and from a slow one."""


@dataclass(frozen=True)
class Duration:
    """Seconds, as a range."""

    low: float
    high: float
    source: str

    def __str__(self) -> str:
        return f"{formatting.clock(self.low)} to {formatting.clock(self.high)} ({self.source})"


def work(prompt: GridPrompt) -> float:
    """What a picture costs, to compare prompts by."""
    return float(prompt.width * prompt.height * prompt.steps)


def device_name(device: Gpu | None) -> str:
    """By what a pace is kept."""
    return PROCESSOR if device is None else device.name


def foretell(
    entry: Loaded, recipe: Recipe, laid: Grid, jobs: Sequence[Sequence[GridCell]], device: Gpu | None
) -> Duration | None:
    """The time for these pictures. None where nothing is known of the pace."""
    total = sum(work(laid.prompts[cell.prompt]) for cells in jobs for cell in cells)
    pace = laid.pace
    if pace is not None and pace.device == device_name(device):
        loading = pace.loading_seconds * len(jobs)
        low, high = (total / pace.work * each + loading for each in (pace.low_seconds, pace.high_seconds))
        return Duration(low, high, "by the pace of earlier pictures")
    seconds = _of_training(entry, recipe, device)
    if seconds is None:
        return None
    low, high = (wait * len(jobs) for wait in _LOADING)
    return Duration(total * seconds / _UNSURE + low, total * seconds * _UNSURE + high, "by the pace of the run's steps")


def _of_training(entry: Loaded, recipe: Recipe, device: Gpu | None) -> float | None:
    """Seconds for each unit of work, from the run's steps on the same GPU."""
    outcome, used, size = entry.outcome, entry.record.gpu, buckets.sides(recipe)
    if device is None or used is None or used.name != device.name or size is None or outcome is None:
        return None
    if not outcome.seconds_per_step:
        return None
    batch = (recipe.number("train_batch_size") or 1) * (recipe.number("gradient_accumulation_steps") or 1)
    return _PASSES * outcome.seconds_per_step / (step_cost.forward_passes(recipe) * math.prod(size) * batch)


def measured(seconds: Sequence[float], works: Sequence[float], loading: float, device: Gpu | None) -> Pace | None:
    """The pace of pictures that were drawn one after another. None without one."""
    per_work = [second / each for second, each in zip(seconds, works, strict=True) if second > 0 and each > 0]
    if not per_work:
        return None
    unit = max(works)
    return Pace(
        device=device_name(device), work=unit, low_seconds=min(per_work) * unit,
        seconds=statistics.median(per_work) * unit, high_seconds=max(per_work) * unit, loading_seconds=loading,
    )  # fmt: skip
