"""A measured run as a record has it, for the tests that look records up, share them or show them."""

from __future__ import annotations

from datetime import datetime, timezone

from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.memory import memory_settings
from sdxl_train_cli.memory.measurements import Measurement
from sdxl_train_cli.recipe import Kind, Recipe, Value
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.rules import rules
from sdxl_train_cli.sdscripts import shipped

CARD = Gpu(0, "NVIDIA GeForce RTX 4070", 12.0, 11.5, (8, 9), "550.54.14")


def recipe(**changes: Value | None) -> Recipe:
    overrides = [Override(option, value, "--set") for option, value in changes.items()]
    return rules.require(presets.load(Kind.LORA, "dim32-gc", overrides), shipped.table())


def record(**changes: object) -> Measurement:
    """A run of dim32-gc on pictures of 4:3, batch 1."""
    facts: dict[str, object] = {
        **dict(memory_settings.read(recipe())), "width": 1152, "height": 896, "together": 1, "peak_gib": 7.3,
        "seconds_per_step": 1.25, "gpu": CARD.name, "gpu_total_gib": 12.0, "driver": "550.54.14", "torch": "2.6.0",
        "sd_scripts": "v0.10.1", "sd_scripts_commit": "abc", "measured": datetime(2026, 11, 20, tzinfo=timezone.utc),
    }  # fmt: skip
    return Measurement.model_validate({**facts, **changes})
