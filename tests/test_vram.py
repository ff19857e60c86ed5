"""The measured table, and a run held against what the GPU has free."""

from __future__ import annotations

import csv

import pytest
from option_facts import option_table

from sdxl_train_cli import presets, rules, vram
from sdxl_train_cli.errors import VramError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.presets import Override
from sdxl_train_cli.recipe import Kind, Recipe, Value

SHIPPED = [(found.kind, found.name) for found in presets.available() if found.kind]


def recipe(kind: Kind = Kind.LORA, name: str = "dim32-gc", **changes: Value | None) -> Recipe:
    overrides = [Override(option, value, "--set") for option, value in changes.items()]
    return rules.require(presets.load(kind, name, overrides), option_table())


def others() -> dict[str, Recipe]:
    return {name: recipe(Kind.LORA, name) for name in presets.names(Kind.LORA)}


def gpu(free_gib: float) -> Gpu:
    return Gpu(index=0, name="card", total_gib=24.0, free_gib=free_gib, capability=(8, 6), driver="550.54.14")


def refused(asked: Recipe, device: Gpu | None) -> tuple[str, str]:
    with pytest.raises(VramError) as caught:
        vram.require(asked, device, others)
    assert caught.value.exit_code == 6
    return caught.value.problems[0].message, str(caught.value.problems[0].hint)


def test_the_table_has_16_rows_and_25_cells_as_they_stand_in_the_file() -> None:
    text = vram.TABLE.read_text(encoding="utf-8")
    lines = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    written = [
        {int(key[2:]): float(gib) for key, gib in line.items() if key.startswith("bs") and gib} for line in lines
    ]

    assert [row.measured_gib for row in vram.rows()] == written
    assert (len(written), sum(map(len, written))) == (16, 25)


def test_each_shipped_preset_has_a_row_of_its_own() -> None:
    matching = {
        (kind, name): [at for at, row in enumerate(vram.rows()) if row.fits(recipe(kind, name))]
        for kind, name in SHIPPED
    }

    assert all(len(rows) == 1 for rows in matching.values())
    assert len({rows[0] for rows in matching.values()}) == len(SHIPPED) == 16


@pytest.mark.parametrize("size", [1, 2])
def test_the_batch_size_chooses_the_cell(size: int) -> None:
    assert vram.measured_gib(recipe(train_batch_size=size)) == {1: 9.4, 2: 13.1}[size]


@pytest.mark.parametrize(
    "changes",
    [
        {"train_batch_size": 3},
        {"resolution": "768,768", "min_bucket_reso": 384, "max_bucket_reso": 1536},
        {"resolution": "1024,768"},
        {"network_dim": 64},
        {"optimizer_type": "AdamW"},
        {"sdpa": None},
        {"network_args": ("conv_dim=16", "conv_alpha=8")},
        {"network_module": "lycoris.kohya"},
    ],
)
def test_other_settings_were_not_measured(changes: dict[str, Value | None]) -> None:
    assert (
        vram.measured_gib(presets.load(Kind.LORA, "dim32-gc", [Override(*item, "") for item in changes.items()]))
        is None
    )


@pytest.mark.parametrize(
    "changes",
    [{"resolution": 1024}, {"resolution": "1024"}, {"seed": 1}, {"optimizer_type": "Adafactor"}, {"xformers": True}],
)
def test_settings_that_take_no_more_memory_are_the_same_row(changes: dict[str, Value | None]) -> None:
    recipe_of = presets.load(Kind.LORA, "dim32-gc", [Override(*item, "") for item in changes.items()])

    assert vram.measured_gib(recipe_of) == 9.4


def test_without_a_gpu_the_way_out_is_named() -> None:
    message, hint = refused(recipe(), None)

    assert message.startswith("no NVIDIA GPU was found")
    assert "sdxl-train smoke" in hint


@pytest.mark.parametrize("free_gib", [9.4, 24.0])
def test_what_fits_is_said_with_both_figures(free_gib: float) -> None:
    told = vram.require(recipe(), gpu(free_gib), others)

    assert told == f"VRAM: needs 9.4 GiB (measured), card has {free_gib:.1f} free"


def test_what_was_not_measured_is_said_to_be_so_and_runs() -> None:
    told = vram.require(recipe(network_dim=64), gpu(0.5), others)

    assert told == "VRAM: not measured for these settings; card has 0.5 GiB free"


def test_too_small_a_gpu_is_told_with_the_preset_that_gives_up_least() -> None:
    message, hint = refused(recipe(name="dim32"), gpu(10.0))

    assert message == "LoRA dim32 needs 17.4 GiB (measured at batch size 1); card has 10.0 free of 24.0"
    assert hint == "--preset dim128-fp8-gc needs 9.9; --no-vram-check tries anyway"
    assert vram.measured_gib(others()["dim128-fp8-gc"]) == 9.9


def test_the_preset_that_fits_is_named_with_the_batch_size_that_it_fits_at() -> None:
    _, hint = refused(recipe(train_batch_size=2), gpu(9.5))

    assert hint == "--preset dim32-gc --batch-size 1 needs 9.4; --no-vram-check tries anyway"


def test_where_nothing_fits_the_smallest_is_named() -> None:
    assert "the smallest of these presets needs 6.4 GiB" in refused(recipe(), gpu(5.0))[1]
