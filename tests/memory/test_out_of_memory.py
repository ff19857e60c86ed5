"""What is named after the GPU's memory ran out needs less than what was tried, and fits the card."""

from __future__ import annotations

import re

import pytest

from sdxl_train_cli import gpu
from sdxl_train_cli.memory import out_of_memory, requirement
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.rules import rules
from sdxl_train_cli.sdscripts import shipped


def recipe(kind: Kind, name: str) -> Recipe:
    return rules.require(presets.load(kind, name), shipped.table())


@pytest.mark.parametrize("kind", list(Kind))
def test_what_is_named_needs_less_than_what_ran_out_and_fits_the_card(kind: Kind) -> None:
    for name in presets.names(kind):
        tried = recipe(kind, name)
        for size_gib in (8, 12, 24, 48):
            told = "\n".join(out_of_memory.for_memory(tried, gpu.hypothetical(size_gib, 0.5)))
            needs = [float(figure) for figure in re.findall(r"needs (?:[\d.]+ to )?([\d.]+) GB", told)]
            limit = min(size_gib - 0.5, requirement.need(tried).high_gib) + 0.05  # figures are rounded
            assert all(need <= limit for need in needs)
            assert bool(needs) != told.startswith("nothing smaller")


def test_a_preset_that_fits_is_named_with_its_command() -> None:
    told = "\n".join(out_of_memory.for_memory(recipe(Kind.LORA, "dim128"), gpu.hypothetical(12, 0.5)))

    assert "sdxl-train lora --preset " in told
    assert "--set " in told


def test_without_a_gpu_only_the_size_of_what_was_tried_counts() -> None:
    assert "--set gradient_checkpointing=true" in "\n".join(out_of_memory.for_memory(recipe(Kind.LORA, "dim128"), None))


def test_where_nothing_is_smaller_that_is_said() -> None:
    (told,) = out_of_memory.for_memory(recipe(Kind.LORA, "dim32-fp8-gc"), gpu.hypothetical(2, 0.5))

    assert told.startswith("nothing smaller")
