"""What makes a run fit, and in which order it is offered."""

from __future__ import annotations

import pytest

from sdxl_train_cli.memory import requirement, savings
from sdxl_train_cli.recipe import Kind, Recipe, Value
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.rules import rules
from sdxl_train_cli.sdscripts import shipped


def recipe(kind: Kind = Kind.LORA, name: str = "dim128", **changes: Value | None) -> Recipe:
    overrides = [Override(option, value, "--set") for option, value in changes.items()]
    return rules.require(presets.load(kind, name, overrides), shipped.table())


def test_a_larger_batch_is_first_made_of_smaller_ones_with_the_same_effect() -> None:
    asked = recipe(train_batch_size=8, gradient_checkpointing=True)
    room_gib = requirement.need(recipe(gradient_checkpointing=True)).high_gib + 2  # gradients wait for the next picture
    way = savings.ways_out(asked, room_gib)[0]

    assert way.flags == "--set train_batch_size=1 --set gradient_accumulation_steps=8"


@pytest.mark.parametrize("free_gib", [6.0, 8.0, 12.0, 16.0, 24.0])
@pytest.mark.parametrize("kind", list(Kind))
def test_every_way_out_fits_and_breaks_no_rule(kind: Kind, free_gib: float) -> None:
    for name in presets.names(kind):
        ways = savings.ways_out(recipe(kind, name), free_gib)
        assert len(ways) <= savings.WAYS
        for way in ways:
            assert way.need.high_gib <= free_gib
            typed = [presets.parse_override(flag) for flag in way.flags.split(" --set ") if flag]
            overrides = [Override(one.option.removeprefix("--set "), one.value, "--set") for one in typed]
            again = rules.require(presets.load(kind, name, overrides), shipped.table())
            assert requirement.need(again) == way.need


@pytest.mark.parametrize("free_gib", [6.0, 12.0, 24.0])
@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize(("batch", "accumulated"), [(1, 3), (4, None), (4, 2)])
def test_every_way_out_keeps_the_effective_batch(
    kind: Kind, free_gib: float, batch: int, accumulated: int | None
) -> None:
    for name in presets.names(kind):
        asked = recipe(kind, name, train_batch_size=batch, gradient_accumulation_steps=accumulated)
        for way in savings.ways_out(asked, free_gib):
            kept = (way.recipe.number("train_batch_size") or 1) * (
                way.recipe.number("gradient_accumulation_steps") or 1
            )
            assert kept == batch * (accumulated or 1), way.flags


def test_fp8_is_never_offered_without_checkpointing_which_it_would_cost_memory() -> None:
    ways = savings.ways_out(recipe(name="dim32"), 14.0)

    assert ways
    assert all("fp8_base" not in way.flags or "gradient_checkpointing" in way.flags for way in ways)


def test_a_way_out_goes_by_what_was_measured_and_says_so() -> None:
    """As a run with the same changes has shown, whatever the estimate says."""

    def known(asked: Recipe) -> requirement.MemoryNeed | None:
        return (
            requirement.MemoryNeed(5.0, 5.0, measured=True, source="measured here")
            if asked.is_on("full_bf16")
            else None
        )

    asked = recipe(name="dim32-gc")
    by_record, by_estimate = savings.ways_out(asked, 5.1, known), savings.ways_out(asked, 5.1)

    assert str(by_record[0]) == "--set full_bf16=true   needs 5 GB (measured here); costs some precision"
    assert by_record[0].flags not in {way.flags for way in by_estimate}


def test_nothing_is_offered_where_nothing_helps() -> None:
    assert savings.ways_out(recipe(), 1.0) == []
