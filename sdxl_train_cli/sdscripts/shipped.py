"""Option tables of known releases, shipped as data files: used before sd-scripts is installed.

`scripts/ship_options.py` writes the files in `releases/` from an installed environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeGuard

from sdxl_train_cli import files
from sdxl_train_cli.recipe import Kind, Value
from sdxl_train_cli.sdscripts.options import Option, OptionTable

PINNED_RELEASE = "v0.11.1"
"""The release whose options count as long as nothing is installed."""
RELEASES = Path(__file__).with_name("releases")
"""One file per release: one option per line without common values, and one optimizer's arguments per line."""


@cache
def table(release: str = PINNED_RELEASE) -> OptionTable:
    """Every option of one release, without upstream's help texts."""
    found: Any = files.read_json(RELEASES / f"{release}.json")
    rows = [(row.pop("script", None), _option(row)) for row in found["options"]]
    scripts = {
        script: tuple(option for only, option in rows if only in {None, script})
        for script in sorted({kind.script for kind in Kind})
    }
    return OptionTable(release=release, scripts=scripts, optimizers=found["optimizers"])


def _option(row: dict[str, Any]) -> Option:
    return Option.model_validate({**row_defaults(row["name"], row["type"]), **row})


def row_defaults(name: str, type_: str) -> dict[str, object]:
    """Values that a row omits because most options share them."""
    default = False if type_ == "switch" else None
    return {"flag": f"--{name}", "many": False, "choices": None, "default": default, "required": False}


@cache
def defaults() -> Mapping[str, Value]:
    """Defaults of the pinned release, as far as both scripts agree."""
    found: dict[str, list[Value | None]] = {}
    for options in table().scripts.values():
        for option in options:
            found.setdefault(option.name, []).append(option.default)
    return {name: first for name, (first, *more) in found.items() if _says_something(first) and set(more) <= {first}}


def _says_something(default: Value | None) -> TypeGuard[Value]:
    """Whether a default is more than the option's absence. Zero is a value."""
    return default is not None and default is not False and default != ""


def default_number(option: str) -> float | int:
    """The default of an option that has a numeric one."""
    value = defaults()[option]
    if isinstance(value, bool | str | tuple):
        raise TypeError(f"{option} is not a number")
    return value


@cache
def lists() -> frozenset[str]:
    """Options that accept several values."""
    return frozenset(option.name for options in table().scripts.values() for option in options if option.many)
