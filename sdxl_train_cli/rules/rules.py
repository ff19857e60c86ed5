"""What sd-scripts would refuse late, ignore silently or reinterpret, reported before the run.

The tables: `value_rules` for single options, `conflict_rules` for combinations, `rate_rules` for what is trained and
how fast, `effect_rules` for values that leave nothing to learn, `embedding_rules` for embeddings,
`warning_rules` for mere warnings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.rules import (
    conflict_rules,
    effect_rules,
    embedding_rules,
    rate_rules,
    unread_rules,
    value_rules,
    warning_rules,
)
from sdxl_train_cli.rules.rule import broken
from sdxl_train_cli.sdscripts import optimizer_arguments, options
from sdxl_train_cli.sdscripts.options import OptionTable

CONFLICTS = (*conflict_rules.CONFLICTS, *rate_rules.CONFLICTS, *effect_rules.CONFLICTS, *embedding_rules.CONFLICTS)
TRAPS = (*warning_rules.TRAPS, *rate_rules.WARNINGS, *effect_rules.WARNINGS, *embedding_rules.WARNINGS)


def problems(recipe: Recipe) -> Iterator[Problem]:
    """Yield what would stop the run, or turn it into a different one."""
    yield from value_rules.problems(recipe)
    yield from broken(CONFLICTS, recipe)


def warnings(recipe: Recipe) -> Iterator[Problem]:
    """Yield what sd-scripts would accept with little or surprising effect."""
    yield from _corrections(recipe)
    yield from value_rules.warnings(recipe)
    yield from unread_rules.warnings(recipe)
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
        yield from optimizer_arguments.problems(typed, table.optimizers)


def require(recipe: Recipe, table: OptionTable, as_trained: Sequence[Recipe] = ()) -> Recipe:
    """The recipe with every value converted to its type. RecipeError lists every problem.

    `as_trained` is the recipe as each dataset of its run trains with it: then these are what has to be sound.
    """
    judged = [problem for each in as_trained or [recipe] for problem in all_problems(each, table)]
    found = list(dict.fromkeys([*options.problems(recipe, table), *judged]))
    if found:
        raise RecipeError(found)
    return options.convert(recipe, table)


def _corrections(recipe: Recipe) -> Iterator[Problem]:
    """Yield what was made of a setting that can't have been meant as it is written."""
    for option, setting in recipe.settings.items():
        if setting.note:
            yield recipe.problem(option, setting.note, "write one key=value after another, without commas")
