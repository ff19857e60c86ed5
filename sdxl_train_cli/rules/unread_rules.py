"""A warning for each option that is set and that the training script never acts on."""

from __future__ import annotations

from collections.abc import Iterator

from sdxl_train_cli.errors import Problem
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.rules.value_rules import OWNED
from sdxl_train_cli.sdscripts import shipped, unread_options


def warnings(recipe: Recipe) -> Iterator[Problem]:
    """Yield one for each such option with a value of its own; those that sdxl-train sets itself are refused anyway."""
    for row in unread_options.rows():
        value = recipe.get(row.name)
        is_default = value is None or value is False or value == shipped.defaults().get(row.name)
        if recipe.kind.script in row.scripts and row.name not in OWNED and not is_default:
            yield recipe.problem_of_setting(row.name, row.why)
