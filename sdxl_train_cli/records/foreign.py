"""A run's folder that may be a stranger's: what of it would run as code is refused, and scripts are our own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from sdxl_train_cli import spelling
from sdxl_train_cli.environment.environment import INSIDE
from sdxl_train_cli.errors import ModelError, Problem, UsageError
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.sdscripts import pickles

_SCRIPTS = ("scaled.py",)
"""Of ours, those that a record may name: the tiny smoke's."""
_WEIGHTS = ("network_weights", "base_weights")


def own_script(named: Path | None) -> Path | None:
    """The script of ours that a record means, as it is installed here; UsageError where it names another one.

    Of a recorded path only the name counts: what lies there may be anybody's.
    """
    if named is None:
        return None
    if named.name not in _SCRIPTS:
        raise UsageError(
            f"the record wants sd-scripts run by {named}, which is no script of sdxl-train",
            "start the run anew with settings that you know",
        )
    return INSIDE / named.name


def require_harmless_state(entry: Loaded, state: Path) -> None:
    """ModelError where loading the state would run code that no trainer's state holds."""
    problems = [
        Problem(
            f"{path} calls {code} when it is loaded, and no trainer writes that",
            f"if this run is your own: sdxl-train runs resume {spelling.shell_word(entry.folder)} --force",
        )
        for path in sorted(state.iterdir())
        if path.suffix.lower() in pickles.SUFFIXES and (code := _foreign_code(path)) is not None
    ]
    if problems:
        raise ModelError(problems)


def require_harmless_files(entry: Loaded, recipe: Recipe) -> None:
    """ModelError where a file that the record names would run code when it is loaded."""
    inputs = entry.record.inputs
    named = [inputs.model, inputs.vae] if inputs else []
    for option in _WEIGHTS:
        value = recipe.get(option)
        named += map(str, value if isinstance(value, tuple) else () if value is None else (value,))
    problems = list(_problems(Path(name) for name in named if name))
    if problems:
        raise ModelError(problems)


def _problems(paths: Iterable[Path]) -> Iterator[Problem]:
    for path in paths:
        code = _foreign_code(path) if path.suffix.lower() in pickles.SUFFIXES else None
        if code is not None:
            yield Problem(
                f"{path} calls {code} when it is loaded",
                "if you trust the file, name it yourself: sdxl-train lora --model FILE, or convert it to .safetensors",
            )


def _foreign_code(path: Path) -> str | None:
    try:
        return pickles.foreign_code(path)
    except OSError:
        return None  # what can't be read is told where it is used
