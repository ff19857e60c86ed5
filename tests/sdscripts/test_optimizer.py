"""Arguments that an optimizer does not take are refused before it would be made; the installed one says which."""

from __future__ import annotations

import pytest

from sdxl_train_cli.errors import RecipeError
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.rules import rules
from sdxl_train_cli.sdscripts import shipped

KNOWN = {"adamw8bit": ("betas", "eps", "weight_decay"), "prodigy": ("betas", "d_coef", "decouple"), "came": None}
TABLE = shipped.table().model_copy(update={"optimizers": KNOWN})


def told(optimizer: str | None, arguments: str) -> list[tuple[str, str | None, str | None]]:
    given = [Override("optimizer_args", arguments, "--set")]
    given += [] if optimizer is None else [Override("optimizer_type", optimizer, "--set")]
    recipe = presets.load(Kind.LORA, "dim32-gc", given)
    try:
        rules.require(recipe, TABLE)
    except RecipeError as error:
        return [(problem.message, problem.hint, str(problem.where)) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("optimizer", "arguments"),
    [
        (None, "weight_decay=0.1 betas=0.9,0.99"),
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
        ("AdamW8bit has no argument 'd_coef'", "it takes betas, eps, weight_decay", "--set")
    ]
    assert [message for message, _, _ in told("prodigy", "relative_step=False lr=1")] == [
        "prodigy has no argument 'relative_step'",
        "prodigy has no argument 'lr'",
    ]


def test_one_that_takes_anything_is_not_judged() -> None:
    table = TABLE.model_copy(update={"optimizers": {"adamw8bit": None}})
    recipe = presets.load(Kind.LORA, "dim32-gc", [Override("optimizer_args", "anything=1", "--set")])

    assert rules.require(recipe, table).arguments("optimizer_args") == {"anything": "1"}
