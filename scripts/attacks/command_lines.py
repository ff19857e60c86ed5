"""Command lines that nobody types: any command, any options, any values."""

from __future__ import annotations

import os
import shutil
from functools import cache
from typing import Any

import typer

from attacks.attempt import CALLS, Attempt
from attacks.documents import PRESETS
from attacks.spoil import HOT_NUMBERS, HOT_TEXTS, NUMBERS, TEXTS
from sdxl_train_cli import cli


@cache
def _commands() -> list[tuple[tuple[str, ...], Any]]:
    """Every command with the words that name it."""

    def walk(command: Any, words: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:  # noqa: ANN401 - typer's own
        inner = getattr(command, "commands", None)
        if inner is None:
            return [(words, command)]
        return [found for name, one in inner.items() for found in walk(one, (*words, name))]

    return walk(typer.main.get_command(cli.app), ())


_GOOD = (
    "data",
    "model.safetensors",
    "output",
    "cat",
    "dim32",
    "lora",
    "a.yaml",
    "1",
    "3",
    "12",
    "toml",
    "seed=1",
    "output/cat",
    "new",
    "home",
    "mine",
    "character",
    "quality",
    "set.json",
    "white",
    "cpu",
    "lycoris",
    "python",
)
_NOT = {"--open"}
"""Would start the browser of whoever runs this."""


def command_line(attempt: Attempt) -> None:
    """Any commands with any options and values, as bytes that may be no text."""
    shutil.copytree(attempt.world.run, attempt.folder / "output" / "cat", symlinks=True)
    shutil.copy2(PRESETS / "lora" / "dim32.yaml", attempt.folder / "a.yaml")
    attempt.write("set.json", b'{"datasets": [{"subsets": [{"image_dir": "data"}]}]}')
    attempt.calls = [_any_command(attempt) for _ in range(CALLS)]


def _any_command(attempt: Attempt) -> list[str]:
    drawn = attempt.drawn
    words, command = drawn.choice([one for one in _commands() if one[0] != ("runs", "tensorboard")])
    argv: list[str] = []
    for one in command.params:
        flag = one.opts[0]
        is_argument = not flag.startswith("-")
        if flag in _NOT or (not is_argument and not attempt.chance(0.35)):
            continue
        value = _typed(attempt)
        if is_argument:
            argv += ["--", value] if value.startswith("-") and attempt.chance(0.3) else [value]
        elif getattr(one, "is_flag", False):
            argv.append(drawn.choice((*one.opts, *one.secondary_opts)))
        else:
            argv += [f"{flag}={value}"] if attempt.chance(0.5) else [flag, value]
    if words[0] in {"lora", "locon", "loha", "lokr", "dreambooth"} and attempt.chance(0.9):
        argv = ["--model", "model.safetensors", "--data", "data", "--dry-run", *argv]
    if words[0] in {"smoke", "fit"}:
        argv = [*argv, "--steps", "x"] if attempt.chance(0.7) else argv
    return [*words, *argv]


def _typed(attempt: Attempt) -> str:
    """A value as the shell hands it on: no NUL, but bytes of any other kind."""
    drawn = attempt.drawn
    text = drawn.choice(_GOOD if attempt.chance(0.5) else (*HOT_TEXTS, *TEXTS, *HOT_NUMBERS, *map(str, NUMBERS)))
    if attempt.chance(0.1):
        text += drawn.choice(TEXTS)
    how = "surrogatepass" if "\ud800" in text else "surrogateescape"
    return os.fsdecode(text.encode("utf-8", how).replace(b"\0", b""))
