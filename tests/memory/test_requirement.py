"""The measured table, and a run held against what the GPU has free."""

from __future__ import annotations

import csv

import pytest

from sdxl_train_cli.errors import VramError, WayOut
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.memory import requirement
from sdxl_train_cli.memory.cuda_context import CudaContext
from sdxl_train_cli.recipe import Kind, Recipe, Setting, Value
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.rules import rules
from sdxl_train_cli.sdscripts import shipped

SHIPPED = [(found.kind, found.name) for found in presets.list_presets() if found.kind]


def recipe(kind: Kind = Kind.LORA, name: str = "dim32-gc", **changes: Value | None) -> Recipe:
    overrides = [Override(option, value, "--set") for option, value in changes.items()]
    return rules.require(presets.load(kind, name, overrides), shipped.table())


def gpu(free_gib: float) -> Gpu:
    return Gpu(index=0, name="card", total_gib=24.0, free_gib=free_gib, capability=(8, 6), driver="550.54.14")


def refused(asked: Recipe, device: Gpu | None) -> tuple[str, str]:
    with pytest.raises(VramError) as caught:
        requirement.require(asked, device, lambda: [WayOut(("way=out",))])
    assert caught.value.exit_code == 6
    return caught.value.problems[0].message, "\n".join(caught.value.problems[0].hint_lines)


def test_the_table_has_16_rows_and_25_cells_as_they_stand_in_the_file() -> None:
    text = requirement.TABLE.read_text(encoding="utf-8")
    lines = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    written = [
        {int(key[2:]): float(gib) for key, gib in line.items() if key.startswith("bs") and gib} for line in lines
    ]

    assert [row.measured_gib for row in requirement.rows()] == written
    assert (len(written), sum(map(len, written))) == (16, 25)


def test_each_row_is_that_of_one_preset_by_size() -> None:
    matching = [
        [at for at, row in enumerate(requirement.rows()) if row.is_like(recipe(kind, name))]
        for kind in Kind
        for name in presets.names_by_size(kind)
    ]

    assert all(len(rows) <= 1 for rows in matching)
    assert sorted(at for rows in matching for at in rows) == list(range(16))


AS_MEASURED: dict[str, Value | None] = {"network_train_unet_only": None, "cache_text_encoder_outputs": None}


@pytest.mark.parametrize("size", [1, 2])
def test_the_batch_size_chooses_the_cell(size: int) -> None:
    assert requirement.measured_gib(recipe(train_batch_size=size, **AS_MEASURED)) == {1: 9.4, 2: 13.1}[size]


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
        {"network_train_unet_only": True},
        {"network_train_unet_only": True, "cache_text_encoder_outputs": True},
    ],
)
def test_other_settings_were_not_measured(changes: dict[str, Value | None]) -> None:
    overrides = [Override(*item, "") for item in {**AS_MEASURED, **changes}.items()]
    assert requirement.measured_gib(presets.load(Kind.LORA, "dim32-gc", overrides)) is None


@pytest.mark.parametrize(
    "changes",
    [{"resolution": 1024}, {"resolution": "1024"}, {"seed": 1}, {"optimizer_type": "Adafactor"}, {"xformers": True}],
)
def test_settings_that_take_no_more_memory_are_the_same_row(changes: dict[str, Value | None]) -> None:
    overrides = [Override(*item, "") for item in {**AS_MEASURED, **changes}.items()]

    assert requirement.measured_gib(presets.load(Kind.LORA, "dim32-gc", overrides)) == 9.4


def test_a_preset_needs_less_than_its_row_for_it_leaves_the_text_encoders_out() -> None:
    needs = {(kind, name): requirement.need(recipe(kind, name)) for kind, name in SHIPPED}
    rows = {key: requirement.row_of(recipe(*key)) for key in needs}

    assert all(need.low_gib < row.measured_gib[1] for key, need in needs.items() if (row := rows[key]) is not None)


def test_a_run_measured_on_another_gpu_counts_with_this_ones_cuda_context() -> None:
    """PyTorch reserved 6.77 GB for this preset on the H100, whose context is 0.75, 0.68 of it at setup."""
    small, large = CudaContext(0.3, 0.3, 0.3, ""), CudaContext.measured(0.68)

    here = requirement.of_any_gpu(recipe(), small)
    assert (here.low_gib, here.high_gib, here.measured) == (pytest.approx(7.07), pytest.approx(7.07), True)
    assert str(here) == "7.07 GB (measured on an NVIDIA H100 80GB HBM3 on 2026-11-27)"
    there = requirement.of_any_gpu(recipe(), large)
    assert there.low_gib < 7.514 < there.high_gib
    assert (there.low_gib, there.high_gib) == (pytest.approx(7.45), pytest.approx(7.55))


def test_what_was_measured_on_a_known_gpu_goes_before_the_table() -> None:
    told = requirement.of_any_gpu(recipe(**AS_MEASURED, max_token_length=None, no_half_vae=None), CONTEXT)

    assert "H100" in told.source
    assert "table" in requirement.of_any_gpu(recipe(**AS_MEASURED), CONTEXT).source, "captions of 225 tokens"


def test_settings_that_nobody_measured_are_estimated() -> None:
    for changes in ({"train_batch_size": 3}, {"resolution": "1024,768"}, {"network_dim": 200}, {"lowram": True}):
        assert not requirement.of_any_gpu(recipe(**changes), CONTEXT).measured


def test_a_smaller_network_takes_no_more_than_a_larger_one_was_measured_to() -> None:
    """A draft of dim 16 was told to need more than the measured preset of dim 32 that it was made of."""
    small, measured = (requirement.of_any_gpu(recipe(network_dim=dim), CONTEXT) for dim in (16, 32))

    assert (small.measured, measured.measured) == (False, True)
    assert small.low_gib < small.high_gib <= measured.high_gib
    assert small.source == "an estimate, at most what a larger run took"
    assert requirement.of_any_gpu(recipe(network_dim=200), CONTEXT).source == "an estimate"


def test_an_estimate_says_what_the_run_does_when_it_needs_most() -> None:
    bare = recipe(network_dim=200, gradient_checkpointing=True, no_half_vae=True)
    sampled = bare.replaced({name: Setting(value=value) for name, value in SAMPLES})

    assert requirement.need(sampled.model_copy(update={"decodes_whole": True})).source == (
        "an estimate, highest while drawing samples"
    )
    assert requirement.need(bare).source == "an estimate"


def test_samples_add_to_what_was_measured_without_them_only_where_drawing_takes_more() -> None:
    bare = presets.load(Kind.LORA, "dim32-gc")
    large = bare.replaced({name: Setting(value=value) for name, value in SAMPLES})
    small = large.model_copy(update={"sample_pixels": 256 * 256})
    without, beside, more = (requirement.of_any_gpu(each, CONTEXT) for each in (bare, small, large))

    assert without.measured
    assert beside == without
    assert more.high_gib > without.high_gib
    assert more.source == "an estimate, highest while drawing samples"


SAMPLES = (("sample_prompts", "prompts.txt"), ("sample_every_n_steps", 5))


CONTEXT = CudaContext(0.5, 0.5, 0.5, "")


def test_a_cell_is_measured_as_it_stands_or_estimated_with_a_range() -> None:
    cells = [requirement.cell(row, size) for row in requirement.rows() for size in requirement.BATCH_SIZES]
    estimated = [cell for cell in cells if not cell.measured]

    assert (len(cells), len(estimated)) == (80, 55)
    assert all(0 < cell.low_gib < cell.high_gib for cell in estimated)


def test_without_a_gpu_the_way_out_is_named() -> None:
    message, hint = refused(recipe(), None)

    assert message.startswith("no NVIDIA GPU was found")
    assert "sdxl-train smoke" in hint


def test_what_was_measured_is_said_to_be_so() -> None:
    """The table's 9.4 GB, with the range of an unknown GPU's context in the place of its machine's."""
    need = requirement.need(recipe(**AS_MEASURED))
    told = requirement.require(recipe(**AS_MEASURED), gpu(10.0), list)

    assert need.low_gib < 9.4 < need.high_gib
    assert told == f"needs {need.figure} GB (the measured table); card has 10.0 GB free, a tight fit"


def test_the_upper_end_of_an_estimate_decides() -> None:
    high_gib = requirement.need(UNMEASURED).high_gib

    assert "(an estimate); card has" in requirement.require(UNMEASURED, gpu(high_gib + 1), list)
    assert refused(UNMEASURED, gpu(high_gib - 0.01))


UNMEASURED = recipe(network_dim=200)


def test_too_small_a_gpu_is_told_with_need_and_have_and_the_ways_out() -> None:
    asked = recipe(name="dim32", **AS_MEASURED)
    message, hint = refused(asked, gpu(10.0))

    needed = requirement.need(asked).figure
    assert message == f"LoRA dim32 needs {needed} GB (the measured table); card has 10.0 GB free of 24.0"
    assert hint.splitlines() == ["--set way=out", "or try anyway: --no-vram-check"]


def test_what_can_not_be_known_is_said() -> None:
    told = requirement.require(recipe(torch_compile=True), gpu(24.0), list)

    assert "torch_compile" in told


def test_several_gpus_need_buckets_as_large_as_the_gradients_besides() -> None:
    full = presets.load(Kind.DREAMBOOTH, "full")
    recipe = rules.require(full, shipped.table())
    alone, both = requirement.need(recipe), requirement.need(recipe.model_copy(update={"processes": 2}))

    # 2.57 billion weights of the U-Net with gradients in the weights' precision
    size = 2 if recipe.is_on("full_bf16") else 4
    assert both.high_gib - alone.high_gib == pytest.approx(2_567_463_684 * size / 2**30, abs=0.02)
    assert not both.measured
    assert "gradient buckets" in both.source
    assert any("NCCL" in doubt for doubt in both.doubts)
