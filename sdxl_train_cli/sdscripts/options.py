"""The options of sd-scripts, and conversion of a recipe's values to their types.

The table is read from sd-scripts' own argparse at setup (`inside/flags.py`) and stored beside the environment. Before
setup, the pinned release's table applies (`shipped.py`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator

from sdxl_train_cli import files, formatting
from sdxl_train_cli.errors import Problem, SetupError
from sdxl_train_cli.recipe import Kind, Recipe, Scalar, Setting, Value
from sdxl_train_cli.sdscripts import key_values, lycoris, other_names

OptionType = Literal["switch", "int", "float", "str"]
ANY = "any"
"""What an optimizer's argument takes of which no more is known."""
EVERYWHERE = (Kind.LORA, Kind.DREAMBOOTH)
"""Kinds whose script every sd-scripts for SDXL has."""


class Option(BaseModel):
    """One option of a training script, as its argparse declares it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    """The argparse destination, which is the name in presets: `network_dim`."""
    flag: str
    """The command-line flag: `--network_dim`."""
    type: OptionType
    many: bool
    """Accepts several values (argparse's nargs `*` or `+`)."""
    choices: tuple[Scalar | None, ...] | None
    default: Scalar | tuple[Scalar, ...] | None
    required: bool = False
    help: str = ""


class OptionTable(BaseModel):
    """Every option of the training scripts of one sd-scripts checkout."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    scripts: Mapping[str, tuple[Option, ...]]
    optimizers: Mapping[str, Mapping[str, str] | None] = {}
    """Arguments of optimizers by lower-case name, `lr` left out, and what each takes; None takes any. An older setup
    asked for no more than the names, or for nothing."""
    release: str | None = None
    """Release of a shipped table. None for an installed sd-scripts."""

    @field_validator("optimizers", mode="before")
    @classmethod
    def _names_alone(cls, optimizers: object) -> object:
        if not isinstance(optimizers, dict):
            return optimizers
        return {
            name: dict.fromkeys(taken, ANY) if isinstance(taken, list | tuple) else taken
            for name, taken in optimizers.items()
        }

    @classmethod
    def load(cls, path: Path) -> OptionTable:
        """Read the table that setup wrote. OSError or ValueError if it is unreadable or lacks a script."""
        table = cls.model_validate(files.read_json(path))
        lacking = {kind.script for kind in EVERYWHERE} - set(table.scripts)
        if lacking:
            raise ValueError(f"{path.name} says nothing about {', '.join(sorted(lacking))}")
        return table

    @property
    def kinds(self) -> list[Kind]:
        """The kinds whose script's options are known."""
        return [kind for kind in Kind if kind.script in self.scripts]

    def of(self, kind: Kind) -> dict[str, Option]:
        """Options by name of the script that trains this kind. SetupError if setup has not asked that script."""
        if kind.script not in self.scripts:
            raise SetupError(
                f"the options of {kind.script} are not known: this sd-scripts was set up before sdxl-train could train"
                f" {kind.label}",
                "run `sdxl-train setup --recreate`",
            )
        return {option.name: option for option in self.scripts[kind.script]}


def problems(recipe: Recipe, table: OptionTable) -> Iterator[Problem]:
    """Yield a problem for each option that this sd-scripts lacks, or whose value it would refuse."""
    known = table.of(recipe.kind)
    unknown = 0
    for name, setting in recipe.settings.items():
        option = known.get(name)
        if option is None:
            unknown += 1  # a suggestion takes milliseconds, thousands would take a minute
            is_looked_for = unknown <= _MOST_MEANT and not _scripts_with(name, table)
            meant = _meant(name, setting, known, table) if is_looked_for else None
            told = recipe.problem if meant else recipe.problem_of_setting
            yield told(name, _unknown(name, recipe.kind, table), meant)
            continue
        try:
            _typed(setting.value, option)
        except ValueError as error:
            example = None if setting.origin.line is not None else _example(setting, option)
            told = recipe.problem_of_setting if example is None else recipe.problem
            yield told(name, f"{name}: {error}", example)


def convert(recipe: Recipe, table: OptionTable) -> Recipe:
    """The recipe with values converted to sd-scripts' types. Call it after `problems` found none."""
    known = table.of(recipe.kind)
    return recipe.replaced(
        {name: _converted(setting, known[name]) for name, setting in recipe.settings.items() if name in known}
    )


def _unknown(name: str, kind: Kind, table: OptionTable) -> str:
    elsewhere = _scripts_with(name, table)
    if elsewhere:
        return f"'{name}' is an option of {elsewhere[0]}, not of {kind.script}"
    return f"{kind.script} has no option '{name}'" + (f" in {table.release}" if table.release else "")


def _meant(name: str, setting: Setting, known: Mapping[str, Option], table: OptionTable) -> str | None:
    """What to write instead: by the table of other programs' names, as one argument of a list, or a similar name."""
    plain = other_names.plain(name)
    row = other_names.find(name)
    if plain in known:
        return f"instead: {_line(plain, setting.value, setting)}"
    if row is not None:
        found = row.setting(setting.value)
        told = None if found is None else _line(*found, setting)
        told = row.flags(setting.value) if row.flag is not None else told
        return row.why if told is None else f"instead: {told}{f' ({row.why})' if row.why else ''}"
    owner = list_with(plain, table)
    if owner in known:
        return f"instead: {_line(str(owner), f'{plain}={setting.value}', setting)}"
    return other_names.suggestion(name, known)


def _example(setting: Setting, option: Option) -> str | None:
    """A number for an option that was typed with something else; null would quietly do without the option."""
    if option.type not in {"int", "float"} or option.many or option.choices is not None:
        return None
    usual = option.default if isinstance(option.default, int | float) else None
    value = _EXAMPLES.get(option.name) or usual or _EXAMPLES[option.type]
    return f"such as {_line(option.name, value, setting)}"


def _line(option: str, value: Value, setting: Setting) -> str:
    """A setting as it is written where this one was."""
    if setting.origin.line is None:
        return f"--set {formatting.shell_word(f'{option}={value}')}"
    return f"{option}: {value}"


def list_with(name: str, table: OptionTable) -> str | None:
    """The option whose `key=value` list has this key."""
    if name in lycoris.ARGUMENTS | lycoris.NATIVE_ARGUMENTS:
        return "network_args"
    takes = (arguments or {} for arguments in table.optimizers.values())
    return "optimizer_args" if any(name in arguments for arguments in takes) else None


def _scripts_with(name: str, table: OptionTable) -> list[str]:
    return [script for script, options in table.scripts.items() if name in {option.name for option in options}]


def _converted(setting: Setting, option: Option) -> Setting:
    value = _typed(setting.value, option)
    note = setting.note
    if option.name in key_values.OPTIONS and value != key_values.literal_words(setting.value):
        note = f"{option.name} is taken as {' '.join(map(str, value)) if isinstance(value, tuple) else value}"
    return setting.model_copy(update={"value": value, "note": note})


def _typed(value: Value, option: Option) -> Value:
    if option.many:
        parts = _parts(value, option)
        typed_parts = tuple(_scalar(part, option) for part in parts)
        for part in typed_parts:
            if str(part).startswith("-") and not _NEGATIVE.fullmatch(str(part)):
                raise ValueError(f"'{part}' in a list would be taken for an option, as it begins with a -")
        return typed_parts
    if isinstance(value, tuple):
        if option.type != "str":
            raise ValueError(f"takes one value, not a list of {len(value)}")
        value = ",".join(str(part) for part in value)  # resolution: [1024, 1024]
    return _scalar(value, option)


def _parts(value: Value, option: Option) -> tuple[Scalar, ...]:
    if option.name in key_values.OPTIONS:
        return key_values.parts(option.name, value)
    return value if isinstance(value, tuple) else tuple(value.split()) if isinstance(value, str) else (value,)


def _scalar(value: Scalar, option: Option) -> Scalar:
    if option.type == "str" and isinstance(value, bool):
        raise ValueError(f"takes text, not {str(value).lower()}")
    converted = _CONVERT[option.type](value)
    if converted == "--" or (isinstance(converted, str) and "\0" in converted):
        raise ValueError(f"{converted!r} can't be given on a command line")
    if option.choices is not None and converted not in option.choices:
        choices = [str(choice) for choice in option.choices if choice is not None]
        raise ValueError(f"'{value}' is not one of {', '.join(choices)}")
    return converted


def _switch(value: Scalar) -> bool:
    text = str(value).lower()
    if text not in {"true", "false"}:
        raise ValueError(f"is a switch, true or false, not '{value}'")
    return text == "true"


def _int(value: Scalar) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) > _LARGEST_INT:
            raise ValueError(f"takes a whole number of usual size, not one with {len(str(abs(value)))} digits")
        return value
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except ValueError:
        number = math.nan
    if not number.is_integer() or abs(number) > _LARGEST_INT:
        raise ValueError(f"takes a whole number, not '{formatting.cut(str(value))}'")
    return int(number)


def _float(value: Scalar) -> float | int:
    if isinstance(value, str) and value.endswith("%"):  # as sd-scripts reads a warm-up's share
        return _float(value[:-1]) / 100
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"takes a number, not '{value}'")
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value)  # lr_warmup_steps: 100 means steps, 0.1 a share
    return value if isinstance(value, int) else number


_EXAMPLES: Mapping[str, Scalar] = {"int": 16, "float": 0.1, "learning_rate": "1e-4", "unet_lr": "1e-4"}
"""Numbers that an option may take, by its name or its type, where the trainer's own default is no example."""
_MOST_MEANT = 20
_LARGEST_INT = 2**63 - 1
"""Largest integer that torch supports."""
_WHOLE = re.compile(r"[+-]?[0-9]+")
_NEGATIVE = re.compile(r"-\d+|-\d*\.\d+")
"""What argparse accepts as a number in a list. Anything else with a leading dash starts the next option."""
_CONVERT: Mapping[OptionType, Callable[[Scalar], Scalar]] = {
    "switch": _switch,
    "int": _int,
    "float": _float,
    "str": str,
}
