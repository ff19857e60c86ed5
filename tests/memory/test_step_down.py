"""One rung after the other: none takes more memory, changes the effective batch or breaks a rule; there is an end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sdxl_train_cli.memory import estimation, step_down
from sdxl_train_cli.memory.step_down import Reduction
from sdxl_train_cli.recipe import Kind, Recipe, Value
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.rules import rules
from sdxl_train_cli.sdscripts import shipped

PRESETS = [(kind, name) for kind in Kind for name in presets.names(kind)]


def recipe(kind: Kind, name: str, **changes: Value | None) -> Recipe:
    overrides = [Override(option, value, "--set") for option, value in changes.items()]
    return rules.require(presets.load(kind, name, overrides), shipped.table())


def ladder(top: Recipe) -> Iterator[Reduction]:
    reduction = step_down.next_reduction(top, shipped.table())
    while reduction is not None:
        yield reduction
        reduction = step_down.next_reduction(reduction.recipe, shipped.table())


def effective_batch(one: Recipe) -> float:
    return (one.number("train_batch_size") or 1) * (one.number("gradient_accumulation_steps") or 1)


@pytest.mark.parametrize("batch", [1, 6])
@pytest.mark.parametrize(("kind", "name"), PRESETS)
def test_from_every_preset_each_rung_is_lower_and_sound_and_there_is_a_last(kind: Kind, name: str, batch: int) -> None:
    above = top = recipe(kind, name, train_batch_size=batch)
    reductions_taken = []
    for reduction in ladder(top):
        reductions_taken.append(reduction)
        assert len(reductions_taken) < 20
        assert estimation.estimate(reduction.recipe).high_gib <= estimation.estimate(above).high_gib
        assert effective_batch(reduction.recipe) == effective_batch(top)
        assert rules.require(reduction.recipe, shipped.table()).settings == reduction.recipe.settings
        assert reduction.flags
        assert reduction.words
        above = reduction.recipe

    assert estimation.estimate(above).high_gib < estimation.estimate(top).high_gib or not reductions_taken


def test_the_order_is_checkpointing_then_halves_of_the_batch_then_fp8() -> None:
    flags = [reduction.flags for reduction in ladder(recipe(Kind.LORA, "dim128", train_batch_size=4))]

    assert flags[:4] == [
        "--set gradient_checkpointing=true",
        "--set train_batch_size=2 --set gradient_accumulation_steps=2",
        "--set train_batch_size=1 --set gradient_accumulation_steps=4",
        "--set fp8_base=true",
    ]


def test_with_a_state_only_what_it_holds_nothing_of_is_changed() -> None:
    one = recipe(Kind.LORA, "dim128", train_batch_size=4, optimizer_type="AdamW")
    flags = []
    while (reduction := step_down.next_reduction(one, shipped.table(), keep_state=True)) is not None:
        flags.append(reduction.flags)
        assert all(
            reduction.recipe.get(name) == one.get(name) for name in ("network_dim", "optimizer_type", "resolution")
        )
        one = reduction.recipe

    assert "--set gradient_checkpointing=true" in flags
    assert "--set fp8_base=true" in flags
    assert len(flags) == 4


def test_what_is_trained_is_never_changed() -> None:
    top = recipe(
        Kind.LORA, "dim32-gc", network_train_unet_only=None, cache_text_encoder_outputs=None, shuffle_caption=True
    )

    assert all(reduction.recipe.get("network_train_unet_only") is None for reduction in ladder(top))
    assert all(reduction.recipe.get("cache_text_encoder_outputs") is None for reduction in ladder(top))


def test_captions_are_cached_where_the_text_encoders_are_not_trained() -> None:
    top = recipe(Kind.LORA, "dim32-gc", network_train_unet_only=True, cache_text_encoder_outputs=None)

    assert next(ladder(top)).flags == "--set network_train_unet_only=true --set cache_text_encoder_outputs=true"


def test_a_rung_says_where_its_settings_come_from() -> None:
    reduction = next(ladder(recipe(Kind.LORA, "dim128")))

    assert str(reduction.recipe.origin("gradient_checkpointing")) == "--on-oom step-down"
    assert str(reduction.recipe.origin("network_dim")) != "--on-oom step-down"


def test_an_older_sd_scripts_is_not_given_an_option_that_it_lacks() -> None:
    table = shipped.table()
    older = table.model_copy(
        update={
            "scripts": {
                script: tuple(option for option in options if option.name != "fp8_base")
                for script, options in table.scripts.items()
            }
        }
    )
    top = recipe(Kind.LORA, "dim128-gc")

    reduction = step_down.next_reduction(top, older)
    assert reduction is not None
    assert "fp8_base" not in reduction.flags
