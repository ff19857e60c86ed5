"""A rule about a recipe: the options it reads, when it is broken, and its message."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from sdxl_train_cli.errors import Problem, WayOut
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.sdscripts import optimizer_swap

NETWORK_KINDS = tuple(kind for kind in Kind if kind.is_network)


@dataclass(frozen=True)
class RuleHint:
    """What to do about a broken rule."""

    ways: tuple[WayOut, ...]
    """What can be typed; each is tried before it is told."""
    advice: str | None = None
    """What is told after them."""


def without_arguments(option: str, *names: str) -> Callable[[Recipe], RuleHint]:
    """The way out that takes these arguments out of a list of them, and keeps the others."""

    def hint(recipe: Recipe) -> RuleHint:
        kept = [f"{name}={text}" for name, text in recipe.arguments(option).items() if name not in names]
        return ways(f"{option}={' '.join(kept) or 'null'}")

    return hint


def ways(*found: str | tuple[str, ...], advice: str | None = None) -> RuleHint:
    """Ways out of a broken rule, the best first; each is `OPTION=VALUE`, or several that belong together."""
    settings = ((one,) if isinstance(one, str) else one for one in found)
    return RuleHint(tuple(map(WayOut, settings)), advice)


@dataclass(frozen=True)
class Rule:
    """One row of a rule table."""

    options: tuple[str, ...]
    """Every option that it reads. The first one that the recipe sets is shown as the location."""
    breaks: Callable[[Recipe], bool]
    message: str | Callable[[], str]
    """A function where a default of sd-scripts is part of the words: its table is not read before a rule is broken."""
    hint: RuleHint | Callable[[Recipe], RuleHint] | str | None = None
    """Text is advice: what can be typed is given by `ways`. A function where it depends on the recipe."""
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
        hint = self.hint(recipe) if callable(self.hint) else self.hint
        told = hint if isinstance(hint, RuleHint) else RuleHint((), hint)
        found = tuple(optimizer_swap.completed(way, recipe) for way in told.ways)
        return Problem(self.words, told.advice, where, self.options, found)


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
