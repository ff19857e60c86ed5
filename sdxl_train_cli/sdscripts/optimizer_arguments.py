"""optimizer_args held against what the optimizer's class takes: names and types."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from sdxl_train_cli import formatting
from sdxl_train_cli.errors import Problem
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.sdscripts import optimizer, shipped
from sdxl_train_cli.sdscripts.options import ANY

_OPTION = "optimizer_args"


def problems(recipe: Recipe, known: Mapping[str, Mapping[str, str] | None]) -> Iterator[Problem]:
    """Yield one problem for each argument that the optimizer does not take, or not with such a value.

    `known` are the arguments of optimizers by lower-case name; None takes any.
    """
    takes = known.get(optimizer.own_name(recipe))
    if takes is None:
        return
    usual = shipped.table().optimizers.get(optimizer.own_name(recipe)) or {}
    name = recipe.get("optimizer_type") or optimizer.DEFAULT
    for argument, text in recipe.arguments(_OPTION).items():
        if argument not in takes:
            hint = formatting.suggestion(argument, tuple(takes)) or f"it takes {', '.join(takes)}"
            yield recipe.problem(_OPTION, f"{name} has no argument '{argument}'", hint)
            continue
        wanted = usual.get(argument, ANY) if takes[argument] == ANY else takes[argument]
        value = _read(text)
        if wanted != ANY and not isinstance(value, _Unreadable) and not _fits(value, wanted):
            message = f"{_OPTION} has '{argument}={text}', but {name} takes {_NAMES.get(wanted, wanted)} there"
            yield recipe.problem(_OPTION, message, _hint(argument, value, wanted))


class _Unreadable:
    """A text that is not valid Python, which value_rules tells."""


def _read(text: str) -> object:
    try:
        value: object = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return _Unreadable()
    return value


def _fits(value: object, wanted: str) -> bool:
    if wanted == "switch or none" and value is None:
        return True
    if wanted.startswith("switch"):
        return isinstance(value, bool) or value in (0, 1)
    if wanted == "number":
        return value is None or _is_number(value)  # some switch a part of themselves off with None
    if wanted == "text":
        return isinstance(value, str)
    return isinstance(value, tuple | list) and len(value) == _count(wanted) and all(map(_is_number, value))


def _hint(argument: str, value: object, wanted: str) -> str | None:
    """The same argument, spelled as it must have been meant; None where that can't be told."""
    if isinstance(value, str) and _fits(_read(value.strip().capitalize()), wanted):
        return f"write {argument}={value.strip().capitalize()}"
    if isinstance(value, tuple | list) and len(value) == 1 and _fits(value[0], wanted):
        return f"write {argument}={value[0]}"
    if wanted.endswith(" numbers"):
        return f"write {argument}={','.join(['0.9', '0.99', '0.999'][: _count(wanted)])}, with figures of your own"
    return {"switch": f"write {argument}=True or {argument}=False"}.get(wanted.partition(" ")[0])


def _count(wanted: str) -> int:
    return int(wanted.partition(" ")[0])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_NAMES = {"switch": "True or False", "switch or none": "True or False", "number": "a number"}
