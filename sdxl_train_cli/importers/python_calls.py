"""What calls in Python code give where all that they are given is known: paths, texts, numbers and literals."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sdxl_train_cli.importers import values

_OF_TEXT: Mapping[str, Callable[..., object]] = {
    "strip": str.strip, "lower": str.lower, "upper": str.upper, "startswith": str.startswith, "endswith": str.endswith,
}  # fmt: skip
_CONVERSIONS = frozenset({"str", "int", "float", "Path", "abspath", "expanduser", "normpath", "list"})
_WITH_DEFAULT = frozenset({"get", "getenv"})


@dataclass(frozen=True)
class Unknown:
    """A value that is only known when the program runs."""

    text: str

    def __str__(self) -> str:
        return f"{{{self.text[:40]}}}"


def result(name: str, held: object, given: Sequence[object], otherwise: Unknown) -> object:
    """What a call of this name gives. `held` is what a method is called on."""
    if name in _CONVERSIONS and len(given) == 1:
        return _converted(name, given[0])
    if name == "join" and given and all(isinstance(part, str | Unknown) for part in given):
        return "/".join(map(str, given))
    if name in _WITH_DEFAULT and len(given) == 2:  # noqa: PLR2004 - a name and a default
        return given[1]
    if name in _OF_TEXT and isinstance(held, str) and all(isinstance(part, str) for part in given):
        return _OF_TEXT[name](held, *given)
    return _literal(given[0]) if name == "literal_eval" and given and isinstance(given[0], str) else otherwise


def _literal(text: str) -> object:
    """What a text says as a literal, such as a list of arguments."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return Unknown(text)


def _converted(name: str, value: object) -> object:
    if name == "list" or isinstance(value, Unknown):
        return value
    number = values.number(str(value)) if name in {"int", "float"} else None
    return str(value) if number is None else int(number) if name == "int" else number
