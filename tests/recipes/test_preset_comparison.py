"""Two presets differ where a run would, and nowhere else."""

from __future__ import annotations

from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Recipe, Value
from sdxl_train_cli.recipes import preset_comparison, presets
from sdxl_train_cli.recipes.preset_comparison import ComparedSide
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.sdscripts import shipped
from sdxl_train_cli.sdscripts.options import OptionTable

TABLE = shipped.table()


def recipe(**changes: Value | None) -> Recipe:
    return presets.load(Kind.LORA, "dim32", [Override(name, value, "--set") for name, value in changes.items()])


def with_default(name: str, default: int) -> OptionTable:
    scripts = {
        script: tuple(
            option.model_copy(update={"default": default}) if option.name == name else option for option in options
        )
        for script, options in TABLE.scripts.items()
    }
    return OptionTable(scripts=scripts)


def differing(one: Recipe, other: Recipe, table: OptionTable = TABLE) -> list[str]:
    return [difference.option for difference in preset_comparison.differences(one, other, table)]


def test_a_preset_does_not_differ_from_itself() -> None:
    assert differing(recipe(), recipe()) == []


def test_the_same_value_in_other_words_is_no_difference() -> None:
    written = recipe(learning_rate="1e-4", gradient_checkpointing="false", network_dim="32")

    assert differing(recipe(), written) == []


def test_arguments_in_another_order_are_no_difference() -> None:
    assert differing(recipe(network_args=("a=1", "b=2")), recipe(network_args="b=2 a=1")) == []


def test_zero_differs_from_what_is_left_out() -> None:
    assert differing(recipe(max_grad_norm=0), recipe(max_grad_norm=None)) == ["max_grad_norm"]


def test_what_is_left_out_counts_as_sd_scripts_default() -> None:
    table = with_default("network_dim", 4)

    (difference,) = preset_comparison.differences(recipe(), recipe(network_dim=None), table)

    assert (difference.one, difference.other) == (ComparedSide(32, Origin("dim32.yaml", 4)), ComparedSide(4, None))
    assert differing(recipe(network_dim=4), recipe(network_dim=None), table) == []


def test_what_sd_scripts_says_nothing_of_has_no_value() -> None:
    (difference,) = preset_comparison.differences(recipe(), recipe(network_dim=None), TABLE)

    assert difference.other == ComparedSide(None, None)


def test_a_value_that_sd_scripts_would_refuse_is_shown_as_it_stands() -> None:
    (difference,) = preset_comparison.differences(recipe(), recipe(network_dim="many"), TABLE)

    assert difference.other.value == "many"
