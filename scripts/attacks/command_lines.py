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
    """Mostly one wrong value on a line that is right, so that it is met; else anything."""
    words, command = attempt.drawn.choice([one for one in _commands() if one[0] != ("runs", "tensorboard")])
    options = [one for one in command.params if one.opts[0].startswith("-") and one.opts[0] not in _NOT]
    arguments = [one for one in command.params if not one.opts[0].startswith("-")]
    if attempt.chance(0.6):
        argv = [*words, *_right(words, [one.name for one in arguments])]
        if arguments and attempt.chance(0.3):
            argv[len(words)] = _hostile(attempt)
            return argv
        return [*argv, *_option(attempt, attempt.drawn.choice(options), _hostile(attempt))] if options else argv
    argv = list(words)
    if words[0] in _TRAINING:
        argv += [*attempt.training, *(["--steps", "x"] if words[0] == "fit" else [])]
    for value in (_typed(attempt) for _ in arguments):
        argv += ["--", value] if value.startswith("-") and attempt.chance(0.3) else [value]
    for one in options:
        if attempt.chance(0.3):
            argv += _option(attempt, one, _typed(attempt))
    return argv


_TRAINING = ("lora", "locon", "loha", "lokr", "dreambooth")
_RIGHT = {"directory": "data", "preset": "dim32", "files": "a.yaml", "name": "mine", "a": "dim32", "b": "dim128",
          "run": "cat", "other": "other", "target": "output/cat", "runs": "cat"}  # fmt: skip


def _right(words: tuple[str, ...], arguments: list[str]) -> list[str]:
    """What makes a command do its work."""
    more: dict[tuple[str, ...], list[str]] = {
        ("dataset", "fix"): ["--to", "new"],
        ("presets", "export"): ["--to", "toml"],
        ("presets", "new"): ["--what", "style", "--gpu", "24", "--pictures", "9", "--for", "speed"],
        ("plan",): ["--gpu", "12"],
        ("fit",): ["--model", "model.safetensors", "--data", "data", "--gpu", "x"],
        ("smoke",): ["--steps", "x"],
        ("runs", "resume"): ["--no-vram-check", "--dry-run", "--steps", "9"],
        ("runs", "rerun"): ["--dry-run"],
    }
    training = ["--model", "model.safetensors", "--data", "data", "--no-vram-check", "--dry-run"]
    return [*(_RIGHT[name] for name in arguments), *(training if words[0] in _TRAINING else more.get(words, []))]


def _option(attempt: Attempt, option: Any, value: str) -> list[str]:  # noqa: ANN401 - typer's own
    flag = option.opts[0]
    if getattr(option, "is_flag", False):
        return [attempt.drawn.choice((*option.opts, *option.secondary_opts))]
    return [f"{flag}={value}"] if attempt.chance(0.5) else [flag, value]


def _hostile(attempt: Attempt) -> str:
    return _bytes(attempt.drawn.choice((*HOT_TEXTS, *HOT_TEXTS, *HOT_NUMBERS, *TEXTS)))


def _typed(attempt: Attempt) -> str:
    """A value as the shell hands it on: no NUL, but bytes of any other kind."""
    drawn = attempt.drawn
    text = drawn.choice(_GOOD if attempt.chance(0.5) else (*HOT_TEXTS, *TEXTS, *HOT_NUMBERS, *map(str, NUMBERS)))
    if attempt.chance(0.1):
        text += drawn.choice(TEXTS)
    return _bytes(text)


def _bytes(text: str) -> str:
    how = "surrogatepass" if "\ud800" in text else "surrogateescape"
    return os.fsdecode(text.encode("utf-8", how).replace(b"\0", b""))
