"""Options whose value names code that sd-scripts would import and call: in a stranger's file, only a trainer's."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable

from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.exchange.entry import Entry, shown

_OPTIONS = frozenset({"network_module", "optimizer_type", "lr_scheduler_type"})
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def require_harmless(entries: Iterable[Entry], where: str) -> None:
    """RecipeError where one is no name of code, or names Python's own library, which holds the way to a shell."""
    for entry in entries:
        if entry.option in _OPTIONS and entry.value is not None:
            name = str(entry.value)
            if not _NAME.fullmatch(name):
                problem = f"gives {entry.option} as '{shown(name)}', which is no name of a {_what(entry.option)}"
            elif _is_pythons_own(name, entry.option):
                problem = (
                    f"gives {entry.option} as '{shown(name)}', which is Python's own code and no {_what(entry.option)}"
                )
            else:
                continue
            raise RecipeError(Problem(problem, "do not train with this file; ask its author what it is for", where))


def _is_pythons_own(name: str, option: str) -> bool:
    package, dot, _ = name.partition(".")
    # A network's module is imported whatever it is called; the others are classes, and a bare name is torch's.
    return (bool(dot) or option == "network_module") and package in sys.stdlib_module_names


def _what(option: str) -> str:
    return {"network_module": "network", "optimizer_type": "optimizer"}.get(option, "schedule")
