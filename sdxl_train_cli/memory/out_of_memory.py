"""What to type after GPU memory ran out: presets and changes that fit and need less than the failed run."""

from __future__ import annotations

import math
from pathlib import Path

from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.memory import planning, requirement, savings
from sdxl_train_cli.recipe import Recipe

_PRESETS = 2
"""Number of presets to suggest."""
_NOTHING = "nothing smaller is known to fit: close programs that use the GPU, or train on a larger one"


def for_memory(recipe: Recipe, device: Gpu | None, user_presets: Path | None = None) -> list[str]:
    """Presets and flags, smallest loss first.

    `device` is the GPU with the memory that is free now that the trainer has ended. Without one, only the failed run's
    size counts. Suggestions need less than that run's lowest estimate or, if there are none, less than its highest.
    """
    tried = requirement.need(recipe)
    free_gib = math.inf if device is None else device.free_gib
    for limit_gib in (tried.low_gib, tried.high_gib):
        ways = _ways(recipe, min(free_gib, math.nextafter(limit_gib, 0)), user_presets)
        if ways:
            return ways
    return [_NOTHING]


def _ways(recipe: Recipe, free_gib: float, user_presets: Path | None) -> list[str]:
    question = planning.PlanRequest(recipe.kind, free_gib, resolution=None, data=None)
    offers = [offer for offer in planning.fitting_runs(question, user_presets) if offer.need.high_gib <= free_gib]
    named = [f"{offer.command}   needs {offer.need}" for offer in offers[:_PRESETS]]
    return [*(str(way) for way in savings.ways_out(recipe, free_gib)), *named]
