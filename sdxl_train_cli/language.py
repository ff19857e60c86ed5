"""The language in which first hints and causes of failures are told: English, or Russian where it is asked for.

English stands in the code and in the tables of failures; Russian stands in `russian.toml`, by a name, with the same
commands. What is not there is told in English.
"""

from __future__ import annotations

import locale
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from sdxl_train_cli import untrusted_files
from sdxl_train_cli.errors import Problem

VARIABLE = "SDXL_TRAIN_LANG"
_OF_THE_SYSTEM = ("LC_ALL", "LC_MESSAGES", "LANG")
_RUSSIAN = Path(__file__).with_name("russian.toml")


def is_russian(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether to speak Russian: as the variable says, otherwise as the system does."""
    named = next(filter(None, map(environ.get, (VARIABLE, *_OF_THE_SYSTEM))), None)
    return (named or locale.getlocale()[0] or "").lower().startswith("ru")


@cache
def russian() -> Mapping[str, Mapping[str, str]]:
    """The Russian texts: of each name its parts."""
    rows = untrusted_files.toml_table(_RUSSIAN.read_text(encoding="utf-8"), _RUSSIAN.name)
    return {
        name: {part: str(text) for part, text in row.items()} for name, row in rows.items() if isinstance(row, dict)
    }


def text(name: str, part: str, english: str) -> str:
    """One text in the person's language. Both have the same {names}."""
    return russian().get(name, {}).get(part, english) if is_russian() else english


def said(name: str, part: str, english: str, /, **facts: object) -> str:
    """One text in the person's language, with its {names} filled in."""
    return text(name, part, english).format(**facts)


def problem(name: str, message: str, hint: str, /, **facts: object) -> Problem:
    """A problem in the person's language, with its {names} filled in."""
    return Problem(
        text(name, "message", message).format(**facts),
        text(name, "hint", hint).format(**facts),
    )
