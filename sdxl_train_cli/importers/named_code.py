"""Options whose value names code that sd-scripts imports and calls. Foreign files may only name trainers' code."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable

from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.importers.foreign_settings import ForeignKey, shown
from sdxl_train_cli.recipe import Recipe, Value

_OPTIONS = frozenset({"network_module", "optimizer_type", "lr_scheduler_type"})
_TOOLS = frozenset({"pip", "setuptools", "pkg_resources", "wheel", "_distutils_hack", "uv"})
"""Packages of every environment, besides the standard library, that can run other programs."""
_PARTS = {"torch": "torch.optim.", "transformers": "transformers.optimization.", "diffusers": "diffusers.optimization."}
"""Allowed parts of large packages: optimizers and schedules. Other parts of torch can compile and load code."""
_HINT = "do not train with this file; ask its author what it is for"
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def require_harmless(entries: Iterable[ForeignKey], where: str) -> None:
    """RecipeError if a value is not a code name, or names a library that could give access to a shell."""
    for entry in entries:
        found = None if entry.option is None or entry.value is None else problem(entry.option, entry.value)
        if found is not None:
            message = f"gives {entry.option} as '{shown(str(entry.value))}', which is {found}"
            raise RecipeError(Problem(message, _HINT, where))


def require_harmless_recipe(recipe: Recipe) -> None:
    """RecipeError if an option of the recipe names code in which a stranger could have meant harm."""
    found = [
        recipe.problem(option, f"{option}: '{shown(str(setting.value))}' is {wrong}", _HINT)
        for option, setting in recipe.settings.items()
        if (wrong := problem(option, setting.value)) is not None
    ]
    if found:
        raise RecipeError(found)


def problem(option: str, value: Value) -> str | None:
    """What is wrong with a value that names code. None if it is part of a trainer."""
    if option not in _OPTIONS:
        return None
    name = str(value)
    if not _NAME.fullmatch(name):
        return f"not the name of {_what(option)}"
    return f"another kind of code, not {_what(option)}" if _is_elsewhere(name, option) else None


def _is_elsewhere(name: str, option: str) -> bool:
    package, dot, _ = name.partition(".")
    # A network's module is always imported. The others are classes, and a bare name is torch's.
    is_imported = bool(dot) or option == "network_module"
    is_no_part = package in _PARTS and (option == "network_module" or not name.startswith(_PARTS[package]))
    return is_imported and (package in sys.stdlib_module_names or package in _TOOLS or is_no_part)


def _what(option: str) -> str:
    return {"network_module": "a network", "optimizer_type": "an optimizer"}.get(option, "a schedule")
