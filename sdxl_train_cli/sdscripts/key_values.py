"""Lists of `key=value` (optimizer_args, lr_scheduler_args, network_args): each argument, however it was written.

sd-scripts takes one argument from each word of the command line and parts it at the equals sign. A comma behind a
value stays in it: `weight_decay=0.5,` is a tuple to Python, and `conv_dim=8,conv_alpha=4` one argument of conv_dim.
"""

from __future__ import annotations

import ast
import contextlib
import json
import re
from collections.abc import Iterator

from sdxl_train_cli.recipe import Value

OPTIONS = frozenset({"network_args", "optimizer_args", "lr_scheduler_args"})
"""Options that take such a list."""
LITERALS = frozenset({"optimizer_args", "lr_scheduler_args"})
"""Those whose values sd-scripts reads as Python; values of network_args stay text."""

_KEY = re.compile(r"""["']?[A-Za-z_]\w*=(?!=)""")
_FULL_WIDTH = re.compile(r"""[\uff0c\uff1b\u3001\u3000]+(?=\s*["'\u201c\u2018]?[A-Za-z_]\w*[=\uff1d])""")
"""A comma, semicolon or blank of an East Asian keyboard before `key=`."""
_PLAIN = str.maketrans("\uff1d\u201c\u201d\u2018\u2019", "=\"\"''")
_PATH = re.compile(r"[/\\]")
_AROUND_EQUALS = re.compile(r"(?<=\w)\s*=\s*(?=[\w.+(\[{'\"-])")
_BEHIND_COMMA = re.compile(r",\s+")
_QUOTE = re.compile(r"""["']""")
_BETWEEN = re.compile(r"[\s,;]+")
_TRAILING = " \t\r\n,;"
_OPENING, _CLOSING = "([{", ")]}"
_WORDS = {"true": "True", "false": "False", "none": "None"}


def parts(option: str, value: Value) -> tuple[str, ...]:
    """Each argument as a word of its own, the way sd-scripts wants them."""
    is_line = not isinstance(value, tuple)
    entries = value if isinstance(value, tuple) else (_AROUND_EQUALS.sub("=", _unwrapped(option, str(value))),)
    found: list[str] = []
    for entry in entries:
        for part in _split(str(entry), at_blanks=is_line):
            if found and not _KEY.match(part) and _goes_on(found[-1]):
                found[-1] += part
            elif found and is_line and not _KEY.match(part) and _PATH.search(found[-1]):  # a path with a blank
                found[-1] += f" {part}"
            else:
                found.append(part)
    whole = [_as_meant(part, is_literal=option in LITERALS) for part in found if part.strip(_TRAILING)]
    return tuple(_BEHIND_COMMA.sub(",", part) if is_line and not _QUOTE.search(part) else part for part in whole)


def _unwrapped(option: str, text: str) -> str:
    """A whole list without brackets around it, and with the marks that a Latin keyboard has."""
    text = _FULL_WIDTH.sub(",", text).translate(_PLAIN).strip()
    while len(text) > 1 and text[0] in _OPENING and _skipped(text, 0) == len(text):
        text = _pairs(option, text) or text[1:-1].strip()
    return text


def _pairs(option: str, text: str) -> str | None:
    """A JSON or Python mapping as `key=value` words. None if it is none."""
    found: object = None
    for read in (json.loads, ast.literal_eval):
        with contextlib.suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            found = read(text)
            break
    if not isinstance(found, dict):
        return None
    written = repr if option in LITERALS else str
    return " ".join(f"{key}={written(value)}" for key, value in found.items())


def literal_words(value: Value) -> tuple[str, ...]:
    """The words that sd-scripts would have been given for a list that is taken as it stands."""
    return tuple(map(str, value)) if isinstance(value, tuple) else tuple(str(value).split())


def _split(text: str, *, at_blanks: bool) -> Iterator[str]:
    """Part a text before each `key=`, and at other blanks too if asked; brackets and quotes hold together."""
    start = place = 0
    while place < len(text):
        end = _skipped(text, place)
        if end is not None:
            place = end
            continue
        between = _BETWEEN.match(text, place)
        if between is None:
            place += 1
            continue
        is_blank = text[place].isspace() and "," not in between.group()
        if _KEY.match(text, between.end()) or (at_blanks and is_blank):
            yield text[start : between.end()].rstrip(" \t\r\n")
            start = between.end()
        place = between.end()
    yield text[start:].rstrip(" \t\r\n")


def _skipped(text: str, place: int) -> int | None:
    """Where the bracket or quoted value that opens here has ended; None where none does."""
    if text[place] in "\"'" and place and text[place - 1] == "=":
        end = text.find(text[place], place + 1)
        return None if end < 0 else end + 1
    if text[place] not in _OPENING:
        return None
    depth = 0
    for at in range(place, len(text)):
        depth += (text[at] in _OPENING) - (text[at] in _CLOSING)
        if depth == 0:
            return at + 1
    return len(text)


def _goes_on(part: str) -> bool:
    """Whether a part is cut off in the middle: within a bracket, or behind a comma."""
    depth = sum(part.count(char) for char in _OPENING) - sum(part.count(char) for char in _CLOSING)
    return depth > 0 or part.rstrip().endswith(",")


def _as_meant(part: str, *, is_literal: bool) -> str:
    part = part.strip(_TRAILING)
    if len(part) > 1 and part[0] in "\"'" and part[-1] == part[0]:
        part = part[1:-1].strip(_TRAILING)
    key, equals, text = part.partition("=")
    if not is_literal or not equals:
        return part
    return f"{key.strip()}={_WORDS.get(text.strip().lower(), text.strip())}"
