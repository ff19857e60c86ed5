"""Arguments that an optimizer does not take are refused before it would be made; the installed one says which."""

from __future__ import annotations

import pytest

from sdxl_train_cli.errors import RecipeError
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.rules import rules
from sdxl_train_cli.sdscripts import shipped
from sdxl_train_cli.sdscripts.options import OptionTable

ADAMW = {"betas": "2 numbers", "eps": "number", "weight_decay": "number", "foreach": "switch or none"}
PRODIGY = {"betas": "2 numbers", "d_coef": "number", "decouple": "switch", "beta3": "any"}
KNOWN = {"adamw8bit": ADAMW, "prodigy": PRODIGY, "came": None}
TABLE = shipped.table().model_copy(update={"optimizers": KNOWN})


def told(optimizer: str | None, arguments: str) -> list[tuple[str, str | None, str | None]]:
    given = [Override("optimizer_args", arguments, "--set")]
    given += [] if optimizer is None else [Override("optimizer_type", optimizer, "--set")]
    given += [Override("learning_rate", 1, "--set")] if "prodigy" in str(optimizer).lower() else []
    recipe = presets.load(Kind.LORA, "dim32-gc", given)
    try:
        rules.require(recipe, TABLE)
    except RecipeError as error:
        return [(problem.message, problem.hint, str(problem.where)) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("optimizer", "arguments"),
    [
        (None, "weight_decay=0.1 betas=0.9,0.99 eps=None foreach=None"),
        (None, "weight_decay=0.1, betas=(0.9, 0.99)"),
        ("Prodigy", "beta3='x' decouple=0"),
        ("prodigyopt.Prodigy", "d_coef=2,decouple=true"),
        ("Prodigy", "d_coef=2 decouple=True"),
        ("Lion", "anything=1"),  # not asked at setup
    ],
)
def test_what_it_takes_is_let_through(optimizer: str | None, arguments: str) -> None:
    assert told(optimizer, arguments) == []


def test_what_it_does_not_take_is_told_with_what_it_does() -> None:
    assert told(None, "weight_decy=0.1") == [
        ("AdamW8bit has no argument 'weight_decy'", "did you mean weight_decay?", "--set")
    ]
    assert told(None, "d_coef=2 eps=1e-8") == [
        ("AdamW8bit has no argument 'd_coef'", "it takes betas, eps, weight_decay, foreach", "--set")
    ]
    assert [message for message, _, _ in told("prodigy", "relative_step=False lr=1")] == [
        "prodigy has no argument 'relative_step'",
        "prodigy has no argument 'lr'",
    ]


@pytest.mark.parametrize(
    ("arguments", "words", "hint"),
    [
        ("weight_decay=(0.5,)", "'weight_decay=(0.5,)', but prodigy", "write weight_decay=0.5"),
        ("weight_decay='0.5'", "takes a number there", "write weight_decay=0.5"),
        ("weight_decay=True", "takes a number there", None),
        ("decouple='False'", "takes True or False there", "write decouple=False"),
        ("decouple=0.5", "takes True or False there", "write decouple=True or decouple=False"),
        ("betas=0.9", "takes 2 numbers there", "write betas=0.9,0.99, with figures of your own"),
        ("betas=0.9,0.99,0.999", "takes 2 numbers there", "write betas=0.9,0.99, with figures of your own"),
    ],
)
def test_a_value_of_another_type_is_refused_with_the_right_spelling(
    arguments: str, words: str, hint: str | None
) -> None:
    table = shipped.table()
    recipe = presets.load(Kind.LORA, "dim32-gc", [Override("optimizer_args", arguments, "--set"),
                                                  Override("optimizer_type", "prodigy", "--set")])  # fmt: skip

    (problem,) = [one for one in rules.all_problems(recipe, table) if one.options == ("optimizer_args",)]

    assert words in problem.message
    assert problem.hint == hint


def test_a_setup_that_asked_for_names_alone_still_holds_types_against_the_known_ones() -> None:
    old = {"scripts": {}, "optimizers": {"adamw8bit": ["betas", "weight_decay"], "came": None}}
    table = TABLE.model_copy(update={"optimizers": OptionTable.model_validate(old).optimizers})
    recipe = presets.load(Kind.LORA, "dim32-gc", [Override("optimizer_args", "betas=0.9 eps=1", "--set")])

    assert [problem.message for problem in rules.all_problems(recipe, table)] == [
        "optimizer_args has 'betas=0.9', but AdamW8bit takes 2 numbers there",
        "AdamW8bit has no argument 'eps'",
    ]


def test_one_that_takes_anything_is_not_judged() -> None:
    table = TABLE.model_copy(update={"optimizers": {"adamw8bit": None}})
    recipe = presets.load(Kind.LORA, "dim32-gc", [Override("optimizer_args", "anything=1", "--set")])

    assert rules.require(recipe, table).arguments("optimizer_args") == {"anything": "1"}
