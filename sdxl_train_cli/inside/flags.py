"""Print every option of sd-scripts' SDXL training scripts, and what optimizers take, as one JSON object.

    python flags.py [NAME=MODULE.CLASS ...]    run in the sd-scripts checkout, by the training environment's Python

    {"scripts": {"sdxl_train.py": [
        {"name", "flag", "type", "many", "choices", "default", "required", "help"}, ...], ...},
     "optimizers": {"adamw": {"betas": "2 numbers", ...}, ...}}

`type` is switch, int, float or str. What is asked is upstream's own parser: `setup_parser()` of each script that the
checkout has. Each optimizer that is named, by sd-scripts' name for it and its class, is asked for its
arguments; null takes any, and one that is not installed is left out. What an argument takes is told by its default,
or else by its annotation: switch, number, text, `2 numbers`, or any where neither says so.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCRIPTS = ("sdxl_train.py", "sdxl_train_network.py", "sdxl_train_textual_inversion.py")
PASSED = {"params", "lr"}
"""What sd-scripts gives each itself."""


def main() -> int:
    """Ask every script and print its options."""
    parser = argparse.ArgumentParser(prog="flags.py", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "optimizers", nargs="*", metavar="NAME=MODULE.CLASS", help="an optimizer to ask for its arguments"
    )
    classes = dict(word.split("=") for word in parser.parse_args().optimizers)
    sys.path[0] = str(Path.cwd())  # not this folder: its files must not stand for upstream's modules
    try:
        with contextlib.redirect_stdout(sys.stderr):
            scripts = {script: options(script) for script in SCRIPTS if Path(script).is_file()}
            taken = dict(optimizers(classes))
    except Exception as error:  # noqa: BLE001  a script of another's, with hundreds of imports: anything can come out
        print(" ".join(f"{type(error).__name__}: {error}".split()), file=sys.stderr)
        return 1
    print(json.dumps({"scripts": scripts, "optimizers": taken}, allow_nan=False))
    return 0


def optimizers(classes: dict[str, str]) -> Iterator[tuple[str, dict[str, str] | None]]:
    """Yield each installed optimizer's name and arguments."""
    for name, path in classes.items():
        module, _, kind = path.rpartition(".")
        passed = {*PASSED, "nesterov"} if "nesterov" in name else PASSED
        with contextlib.suppress(Exception):  # whatever a package of another's raises where it can't be imported
            yield name, arguments(getattr(importlib.import_module(module), kind), passed)


def arguments(optimizer: type, passed: set[str]) -> dict[str, str] | None:
    """Give what it takes, those left out that sd-scripts passes itself; None where it takes any."""
    parameters = inspect.signature(optimizer).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return {parameter.name: taken(parameter) for parameter in parameters if parameter.name not in passed}


def taken(parameter: inspect.Parameter) -> str:
    """Tell what an argument takes, by its default, or by its annotation where that is None."""
    default = parameter.default
    if isinstance(default, bool):
        return "switch"
    if isinstance(default, (int, float)):
        return "number"
    if isinstance(default, str):
        return "text"
    if isinstance(default, (tuple, list)) and all(isinstance(part, (int, float)) for part in default):
        return f"{len(default)} numbers"
    if "bool" in str(parameter.annotation):
        return "switch or none"
    return "any"


def options(script: str) -> list[dict[str, Any]]:
    """Return the options of one script, in the order in which its parser declares them."""
    parser = importlib.import_module(script.removesuffix(".py")).setup_parser()
    return [
        described(action)
        for action in parser._actions  # noqa: SLF001  argparse has no public list of its options
        if action.option_strings and not isinstance(action, (argparse._HelpAction, argparse._VersionAction))  # noqa: SLF001
    ]


def described(action: argparse.Action) -> dict[str, Any]:
    """Return one option as the CLI wants to know it."""
    explained = "" if action.help in (None, argparse.SUPPRESS) else " ".join(str(action.help).split())
    return {
        "name": action.dest,
        "flag": next((flag for flag in action.option_strings if flag.startswith("--")), action.option_strings[0]),
        "type": kind(action),
        "many": action.nargs in ("*", "+") or (isinstance(action.nargs, int) and action.nargs > 1),
        # A None among the choices, as in --save_precision, is what leaving the option out means.
        "choices": None if action.choices is None else [plain(each) for each in action.choices if each is not None],
        "default": plain(action.default),
        "required": action.required,
        "help": explained,
    }


def kind(action: argparse.Action) -> str:
    """Return what an option takes; store_true, store_false and every other action without a value is a switch."""
    if action.nargs == 0:
        return "switch"
    name = getattr(action.type, "__name__", "str")
    # A function of upstream's own, as int_or_float in library/train_util.py, takes both.
    return next((known for known in ("float", "int") if known in name.lower()), "str")


def plain(value: object) -> object:
    """Return a default or a choice if JSON can carry it, else None."""
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if value == argparse.SUPPRESS:
        return None
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return None
    return value


if __name__ == "__main__":
    sys.exit(main())
