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
"""One file per release: one option per line without common values, and one optimizer's arguments per line. `scripts`
says which scripts have an option so, where not all of them do."""


@cache
def table(release: str = PINNED_RELEASE) -> OptionTable:
    """Every option of one release, without upstream's help texts."""
    found: Any = files.read_json(RELEASES / f"{release}.json")
    every = tuple(found["scripts"])
    rows = [(row.pop("scripts", every), _option(row)) for row in found["options"]]
    scripts = {script: tuple(option for having, option in rows if script in having) for script in every}
    return OptionTable(release=release, scripts=scripts, optimizers=found["optimizers"])


def completed(installed: OptionTable, commit: str) -> OptionTable:
    """The table of an installed sd-scripts, with scripts that its setup did not ask, where it is a known release."""
    if set(installed.kinds) == set(Kind):
        return installed
    release = next((name for name in _names() if _commit(name) == commit), None)
    return installed if release is None else _with_scripts(installed, table(release))


def _with_scripts(installed: OptionTable, known: OptionTable) -> OptionTable:
    return installed.model_copy(update={"scripts": {**known.scripts, **installed.scripts}})


def _names() -> list[str]:
    return sorted(path.stem for path in RELEASES.glob("*.json"))


@cache
def _commit(release: str) -> str:
    found: Any = files.read_json(RELEASES / f"{release}.json")
    return str(found["commit"])


def _option(row: dict[str, Any]) -> Option:
    return Option.model_validate({**row_defaults(row["name"], row["type"]), **row})


def row_defaults(name: str, type_: str) -> dict[str, object]:
    """Values that a row omits because most options share them."""
    default = False if type_ == "switch" else None
    return {"flag": f"--{name}", "many": False, "choices": None, "default": default, "required": False}


@cache
def defaults() -> Mapping[str, Value]:
    """Defaults of the pinned release, as far as its scripts agree."""
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
