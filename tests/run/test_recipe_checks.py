"""What a GPU makes of the precision is told before the start, with ways out that work on it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.recipe import Kind, Setting
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.run import recipe_checks
from sdxl_train_cli.sdscripts import shipped

CARD = Gpu(0, "NVIDIA GeForce GTX 1660 SUPER", 6.0, 5.5, (7, 5), "555")


def told(card: Gpu, precision: str) -> list[tuple[str, tuple[str, ...]]]:
    recipe = presets.load(Kind.LORA, "dim32").replaced({"mixed_precision": Setting(value=precision)})
    found = recipe_checks.warnings(recipe, shipped.table(), card)
    return [
        (problem.message, tuple(way.flags for way in problem.ways)) for problem in found if card.name in problem.message
    ]


@pytest.mark.parametrize("name", ["NVIDIA GeForce GTX 1660 SUPER", "NVIDIA GeForce GTX 1650 Ti", "Quadro T1000"])
def test_a_gtx_16_is_never_sent_to_fp16(name: str) -> None:
    card = replace(CARD, name=name)

    for precision in ("bf16", "fp16"):
        ((message, ways),) = told(card, precision)
        assert "NaN" in message
        assert ways[0] == "--set mixed_precision=no"
        assert not any("fp16" in way for way in ways)
    assert told(card, "no") == []


@pytest.mark.parametrize("name", ["NVIDIA GeForce RTX 2060", "Tesla T4", "NVIDIA TITAN RTX"])
def test_turing_with_tensor_cores_trains_in_fp16(name: str) -> None:
    card = replace(CARD, name=name)

    ((_, ways),) = told(card, "bf16")

    assert ways == ("--set mixed_precision=fp16 --set no_half_vae=true",)
    assert told(card, "fp16") == []
