"""Compare two recipes: options that differ in effect, using sd-scripts' defaults for missing ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Recipe, Value
from sdxl_train_cli.sdscripts import options
from sdxl_train_cli.sdscripts.options import OptionTable


@dataclass(frozen=True)
class ComparedSide:
    """One recipe's value of an option."""

    value: Value | None
    """None if neither the recipe nor sd-scripts has a value."""
    origin: Origin | None
    """Where the recipe sets it. None if it is sd-scripts' default."""


@dataclass(frozen=True)
class OptionDifference:
    """One differing option."""

    option: str
    one: ComparedSide
    other: ComparedSide


def differences(one: Recipe, other: Recipe, table: OptionTable) -> Iterator[OptionDifference]:
    """Yield the differences, sorted by name."""
    sides = [_typed(recipe, table) for recipe in (one, other)]
    for option in sorted({name for recipe in sides for name in recipe.settings}):
        found = [_side(recipe, option, table) for recipe in sides]
        if _meant(found[0].value) != _meant(found[1].value):
            yield OptionDifference(option, *found)


def _typed(recipe: Recipe, table: OptionTable) -> Recipe:
    """Convert values as far as possible. A value that sd-scripts would refuse stays as written."""
    names = [name for problem in options.problems(recipe, table) for name in problem.options]
    wrong = {name: recipe.settings[name] for name in names}
    return options.convert(recipe.replaced(dict.fromkeys(wrong)), table).replaced(wrong)


def _side(recipe: Recipe, option: str, table: OptionTable) -> ComparedSide:
    if option in recipe.settings:
        return ComparedSide(recipe.get(option), recipe.origin(option))
    known = table.of(recipe.kind).get(option)
    return ComparedSide(None if known is None else known.default, None)


def _meant(value: Value | None) -> object:
    """A value for comparison: a switch that is off equals an absent one, and argument lists have no order."""
    if isinstance(value, tuple):
        return frozenset(map(str, value)) or None
    return None if value is False else value
