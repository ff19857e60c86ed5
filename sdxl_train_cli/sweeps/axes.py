"""The settings that a sweep varies: read from `--set`, as a grid, drawn at random, or left to a search.

A comma separates values where none can hold one: numbers, switches, choices, names. An option that takes text with
commas, such as optimizer_args or resolution, is given once for each value.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sdxl_train_cli import formatting
from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.sdscripts.options import Option

_SET = Origin("--set")
_NAME = re.compile(r"[A-Za-z][\w.-]*")
"""An optimizer, a scheduler: text without commas."""
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})")
_DECADE = 10.0
"""A range this wide is drawn by factors: of 1e-5..1e-3, even draws would put 9 of 10 above 1e-4."""
_DIGITS = 3
"""Of a number that is drawn: finer than any training tells apart."""
_SEED = 42
"""So that the same command draws the same points."""
_FEWEST = 2
"""Values that vary."""
_TRIES = 100
"""Draws for each point, as a drawn point may be there already."""

Settings = Mapping[str, str]
"""A point: a value for each option, as `--set` takes it."""


@dataclass(frozen=True)
class Range:
    """All numbers between two."""

    low: float
    high: float
    is_whole: bool

    @property
    def is_by_factors(self) -> bool:
        """Whether equal factors are equally likely, rather than equal distances."""
        return self.low > 0 and self.high / self.low >= _DECADE

    def drawn(self, source: random.Random) -> str:
        """A number of it."""
        if self.is_by_factors:
            found = math.exp(source.uniform(math.log(self.low), math.log(self.high)))
        else:
            found = source.uniform(self.low, self.high)
        return self.text(found)

    def text(self, value: float) -> str:
        """A number of it as it is written: with few digits, and within the range."""
        if self.is_whole:
            return str(min(max(round(value), math.ceil(self.low)), math.floor(self.high)))
        return f"{min(max(float(f'{value:.{_DIGITS}g}'), self.low), self.high):.6g}"

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"


@dataclass(frozen=True)
class Axis:
    """One option that is varied: its values, or the range that they come from."""

    option: str
    values: tuple[str, ...] = ()
    range: Range | None = None

    @property
    def words(self) -> str:
        """As it is told."""
        return f"{self.option} {self.range or ', '.join(self.values)}"


def read(texts: Sequence[str], known: Mapping[str, Option]) -> tuple[tuple[Axis, ...], list[str]]:
    """What varies, and the texts of `--set` that set one value for all points. RecipeError lists every nonsense."""
    by_option: dict[str, list[tuple[str, str]]] = {}
    fixed: list[str] = []
    for text in texts:
        name, equals, _ = text.partition("=")
        option = presets.parse_override(text).option if equals and name.strip() else text
        by_option.setdefault(option, []).append((text, text.partition("=")[2]))
    axes, wrong = [], list[Problem]()
    for option, given in by_option.items():
        values = [value for _, text in given for value in _values(text, known.get(option))]
        if len(values) > 1 and "" in values:
            values = [value for value in values if value]
            wrong.append(_empty(option, values))
        range_ = _range(option, values, known.get(option), wrong)
        if range_ is None and len(values) == 1:
            fixed.append(given[0][0])
            continue
        twice = _twice(values, known.get(option))
        if twice is not None:
            wrong.append(Problem(f"{option} has the value {formatting.cut(twice)} twice", "leave one out", _SET))
        axes.append(Axis(option, () if range_ else tuple(values), range_))
    if wrong:
        raise RecipeError(wrong)
    return tuple(axes), fixed


def _empty(option: str, values: Sequence[str]) -> Problem:
    """What is said of a comma too many."""
    shown = ",".join([*values, *["VALUE"] * (_FEWEST - len(values))])
    return Problem(f"{option} has an empty value: a comma too many", f"--set {option}={formatting.cut(shown)}", _SET)


def _values(text: str, option: Option | None) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if option is None or len(parts) == 1:
        return [text.strip()]
    has_no_comma = option.type != "str" or option.choices is not None
    are_names = not option.many and any(parts) and all(_NAME.fullmatch(part) for part in parts if part)
    return parts if has_no_comma or are_names else [text.strip()]


def _twice(values: Sequence[str], option: Option | None) -> str | None:
    """A value that is there already, perhaps written another way: 5e-5 and 0.00005. None if all differ."""
    is_number = option is not None and not option.many and option.type in {"int", "float"}
    seen = set[str | float]()
    for value in values:
        plain = float(value) if is_number and re.fullmatch(_NUMBER, value) else value
        if plain in seen:
            return value
        seen.add(plain)
    return None


def _range(option: str, values: Sequence[str], known: Option | None, wrong: list[Problem]) -> Range | None:
    found = next((match for value in values if (match := _RANGE.fullmatch(value))), None)
    if found is None or known is None or known.type == "str":
        return None
    low, high = map(float, found.groups())
    if len(values) > 1:
        wrong.append(Problem(f"{option} has a range and single values", f"--set {option}={found[0]} alone", _SET))
    elif known.type not in {"int", "float"} or known.many or known.choices is not None:
        wrong.append(Problem(f"{option} takes no range: it is no number", f"--set {option}=VALUE,VALUE", _SET))
    elif not low < high or not math.isfinite(high - low):
        wrong.append(Problem(f"{option}={found[0]} is no range: its end must be above its start",
                             f"--set {option}={high:g}..{low:g}" if high < low else None, _SET))  # fmt: skip
    elif known.type == "int" and not (low.is_integer() and high.is_integer()):
        wrong.append(Problem(f"{option} takes whole numbers, not {found[0]}", None, _SET))
    return Range(low, high, known.type == "int")


def grid(axes: Sequence[Axis]) -> Iterator[Settings]:
    """Every combination, the last option changing fastest."""
    for values in itertools.product(*(axis.values for axis in axes)):
        yield dict(zip((axis.option for axis in axes), values, strict=True))


def size(axes: Sequence[Axis]) -> int | None:
    """How many combinations there are. None where a range has no number of them."""
    return None if any(axis.range for axis in axes) else math.prod(len(axis.values) for axis in axes)


def at_random(axes: Sequence[Axis], count: int, seed: int = _SEED) -> list[Settings]:
    """Different points, drawn with a fixed seed; fewer where there are not so many."""
    source = random.Random(seed)  # noqa: S311 - not for secrets
    found: dict[tuple[str, ...], Settings] = {}
    for _ in range(count * _TRIES):
        if len(found) == min(count, size(axes) or count):
            break
        drawn = {axis.option: axis.range.drawn(source) if axis.range else source.choice(axis.values) for axis in axes}
        found.setdefault(tuple(drawn.values()), drawn)
    return list(found.values())
