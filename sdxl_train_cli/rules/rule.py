"""A rule about a recipe: the options it reads, when it is broken, and its message."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from sdxl_train_cli.errors import Problem
from sdxl_train_cli.recipe import Kind, Recipe

NETWORK_KINDS = (Kind.LORA, Kind.LOCON, Kind.LOHA, Kind.LOKR)


@dataclass(frozen=True)
class Rule:
    """One row of a rule table."""

    options: tuple[str, ...]
    """Every option that it reads. The first one that the recipe sets is shown as the location."""
    breaks: Callable[[Recipe], bool]
    message: str | Callable[[], str]
    """A function if it quotes a default of sd-scripts, so that the table is only loaded when a rule is broken."""
    hint: str | None = None
    kinds: tuple[Kind, ...] = tuple(Kind)

    @property
    def words(self) -> str:
        """The message as shown."""
        return self.message if isinstance(self.message, str) else self.message()

    def problem(self, recipe: Recipe) -> Problem | None:
        """The rule as a problem, if the recipe breaks it."""
        if recipe.kind not in self.kinds or not self.breaks(recipe):
            return None
        origins = (recipe.origin(option) for option in self.options)
        where = next((origin for origin in origins if origin is not None), None)
        return Problem(self.words, self.hint, where, self.options)


def broken(table: Iterable[Rule], recipe: Recipe, unsound: Collection[str] = ()) -> Iterator[Problem]:
    """Yield a problem for each broken rule. Rules about `unsound` options are skipped."""
    for rule in table:
        if unsound and not set(unsound).isdisjoint(rule.options):
            continue
        problem = rule.problem(recipe)
        if problem is not None:
            yield problem


def sets(*options: str) -> Callable[[Recipe], bool]:
    """All of these options are effectively set: not absent, false, zero or empty."""
    return lambda recipe: all(map(recipe.get, options))


def is_set(recipe: Recipe, *options: str) -> bool:
    """One of these options is effectively set, as in `sets`."""
    return any(map(recipe.get, options))


def lacks(option: str, *needed: str) -> Callable[[Recipe], bool]:
    """The option is set, and none of the options that it needs is."""
    return lambda recipe: is_set(recipe, option) and not is_set(recipe, *needed)
