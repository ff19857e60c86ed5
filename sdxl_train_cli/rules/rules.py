"""What sd-scripts would refuse late, ignore silently or reinterpret, reported before the run.

The tables: `value_rules` for single options, `conflict_rules` for combinations, `warning_rules` for warnings.
"""

from __future__ import annotations

from collections.abc import Iterator

from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.rules import value_rules
from sdxl_train_cli.rules.conflict_rules import CONFLICTS
from sdxl_train_cli.rules.rule import broken
from sdxl_train_cli.rules.warning_rules import TRAPS
from sdxl_train_cli.sdscripts import optimizer, options
from sdxl_train_cli.sdscripts.options import OptionTable


def problems(recipe: Recipe) -> Iterator[Problem]:
    """Yield what would stop the run, or turn it into a different one."""
    yield from value_rules.problems(recipe)
    yield from broken(CONFLICTS, recipe)


def warnings(recipe: Recipe) -> Iterator[Problem]:
    """Yield what sd-scripts would accept with little or surprising effect."""
    yield from value_rules.warnings(recipe)
    yield from broken(TRAPS, recipe)


def all_problems(recipe: Recipe, table: OptionTable) -> Iterator[Problem]:
    """Yield problems of names, types and combinations. An option of the wrong type is not checked further."""
    found = list(options.problems(recipe, table))
    yield from found
    unsound = [option for problem in found for option in problem.options]
    typed = options.convert(recipe.replaced(dict.fromkeys(unsound)), table)
    yield from value_rules.problems(recipe.replaced(dict(typed.settings)), unsound)
    yield from broken(CONFLICTS, typed, unsound)
    if not {"optimizer_type", "optimizer_args"} & set(unsound):
        yield from optimizer.unknown_arguments(typed, table.optimizers)


def require(recipe: Recipe, table: OptionTable) -> Recipe:
    """The recipe with every value converted to its type. RecipeError lists every problem."""
    found = list(all_problems(recipe, table))
    if found:
        raise RecipeError(found)
    return options.convert(recipe, table)
