"""Judge the conditions of a script, as far as its own variables decide them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from sdxl_train_cli.importers.script_variables import Variables, is_unknown

_BATCH = re.compile(
    r"(?i)if\s+(?:/i\s+)?(?P<no>not\s+)?(?:(?P<file>exist|errorlevel|cmdextversion)\s+(?:\"[^\"]*\"|\S+)"
    r"|defined\s+(?P<name>\w+)|(?P<left>\"[^\"]*\"|[^\s=]+)\s*(?P<how>==|equ\b|neq\b|gtr\b|lss\b|geq\b|leq\b)\s*"
    r"(?P<right>\"[^\"]*\"|[^\s(]+))\s*(?P<then>.*)",
    re.DOTALL,
)
_ARGUMENT = re.compile(r"\"?(?:%~?\d|\$\{?\d(?::-)?\}?)\"?")
"""A word given to the script when it is started: nothing here."""
_COMPARED = re.compile(
    r"(?P<left>.+?)\s*(?P<how>===?|=~|=|!=|\s-[ic]?(?:eq|ne|gt|lt|ge|le|like|match)\s)\s*(?P<right>.+)"
)
_BRACKETS = (("[[", "]]"), ("[", "]"), ("(", ")"))
_NUMBERS: Mapping[str, Callable[[float, float], bool]] = {
    "gt": lambda one, other: one > other, "gtr": lambda one, other: one > other,
    "lt": lambda one, other: one < other, "lss": lambda one, other: one < other,
    "ge": lambda one, other: one >= other, "geq": lambda one, other: one >= other,
    "le": lambda one, other: one <= other, "leq": lambda one, other: one <= other,
}  # fmt: skip
_FALSE = frozenset({"", "0", "$false", "false", "$null"})


def of_batch(text: str, variables: Variables) -> tuple[bool | None, str] | None:
    """Whether an `if` of a batch file holds, and what follows it; None if the line is no `if`."""
    match = _BATCH.fullmatch(text)
    if match is None:
        return None
    if match["file"]:
        held: bool | None = None
    elif match["name"]:
        held = variables.get(match["name"]) not in (None, "")
    else:
        held = _compared(match["left"], match["how"], match["right"], variables)
    return (held if held is None or not match["no"] else not held), match["then"].strip()


def judged(text: str, variables: Variables) -> bool | None:
    """Whether a condition of sh or PowerShell holds. None if that can't be told."""
    text = _bare(text)
    for mark, decisive in (
        ("||", True),
        (" -or ", True),
        (" -o ", True),
        ("&&", False),
        (" -and ", False),
        (" -a ", False),
    ):
        if mark in text:
            found = [judged(part, variables) for part in text.split(mark)]
            return decisive if decisive in found else None if None in found else not decisive
    negated = re.match(r"(?:!|-not)\s*(?=[\s($\"\[-])", text)
    if negated is not None:
        held = judged(text[negated.end() :], variables)
        return None if held is None else not held
    empty = re.fullmatch(r"-(?P<how>[zn])\s+(?P<word>\S+)", text)
    if empty is not None:
        value = _value(empty["word"], variables)
        return None if value is None else (value == "") == (empty["how"] == "z")
    match = _COMPARED.fullmatch(text)
    if match is not None:
        return _compared(match["left"], match["how"], match["right"], variables)
    value = _value(text, variables) if re.fullmatch(r"\$\w+|\"?\$\{?\w+\}?\"?|true|false", text) else None
    return None if value is None else value.lower() not in _FALSE


def _bare(text: str) -> str:
    text = text.strip()
    for opening, closing in _BRACKETS:
        if text.startswith(opening) and text.endswith(closing) and opening not in text[len(opening) : -len(closing)]:
            return _bare(text[len(opening) : -len(closing)])
    return text.removeprefix("test ").strip()


def _compared(left: str, how: str, right: str, variables: Variables) -> bool | None:
    one, other = _value(left, variables), _value(right, variables)
    name = how.strip().strip("-").lower()
    name = name[1:] if name[:1] in "ic" and name[1:] in {"eq", "ne", "gt", "lt", "ge", "le", "like", "match"} else name
    if one is None or other is None or name in {"=~", "match"}:
        return None
    if name in _NUMBERS:
        try:
            return _NUMBERS[name](float(one), float(other))
        except ValueError:
            return None
    if name == "like":
        return re.fullmatch(re.escape(other).replace(r"\*", ".*"), one, re.IGNORECASE) is not None
    is_same = one.strip().lower() == other.strip().lower() or (_is_true(one), one) == (_is_true(other), other)
    return not is_same if name in {"!=", "ne", "neq"} else is_same


def _is_true(text: str) -> bool:
    return text.lower() in {"$true", "true", "1"}


def _value(word: str, variables: Variables) -> str | None:
    word = word.strip()
    if _ARGUMENT.fullmatch(word):
        return ""
    text = variables.filled(word).strip("\"'")
    return None if is_unknown(text) else text
