"""The user's config file: `config.yaml` in the config folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sdxl_train_cli import files, layout
from sdxl_train_cli.errors import Problem, RecipeError, UsageError
from sdxl_train_cli.layout import Home

_KEYS = ("source", "home")
_NOTIFY = "notify"


@dataclass(frozen=True)
class UserConfig:
    """Contents of the user's config file."""

    source: str | None = None
    home: str | None = None
    notify: str | tuple[str, ...] | None = None
    """What is told of a run that ends: a web address, a command line for the shell, or a command and its arguments."""


def load(folder: Path) -> UserConfig:
    """Read the user's config file. An empty UserConfig if there is none."""
    path = folder / "config.yaml"
    if not files.is_file(path):
        return UserConfig()
    from sdxl_train_cli.recipes import yaml_file  # noqa: PLC0415 - few have such a file, and the parser takes long

    document = yaml_file.load(path)
    found = document.get(_NOTIFY)
    listed = found is not None and isinstance(found.value, tuple)
    rest = tuple(entry for entry in document.entries if not (listed and entry is found))
    if found is not None and _is_odd_address(found.value):
        words = "notify takes an address that begins with http:// or https://, and this one does not"
        raise RecipeError(Problem(words, "or a command: notify: [program, '{message}']", document.where(found)))
    texts = yaml_file.texts(replace(document, entries=rest), (*_KEYS, _NOTIFY))
    command = tuple(map(str, found.value)) if found is not None and isinstance(found.value, tuple) else None
    return UserConfig(texts.get("source"), texts.get("home"), command or texts.get(_NOTIFY))


def home(typed: str | None, environ: Mapping[str, str]) -> Home:
    """The home folder: typed, SDXL_TRAIN_HOME, the config file, the platform's place. Raises UsageError."""
    if typed == "":
        raise UsageError("--home is empty", "give it a folder, or omit it")
    chosen = typed or environ.get("SDXL_TRAIN_HOME") or load(layout.config_folder(environ)).home
    if chosen and not _is_name(chosen):
        raise UsageError(
            f"{chosen!a} can't be the home folder: its name is not valid UTF-8", "give --home another folder"
        )
    return Home.find(Path(chosen) if chosen else None, {})


def _is_odd_address(value: object) -> bool:
    """Whether it is an address that nothing is sent to. A shell would tell it, and it may hold a key."""
    scheme, found, _ = value.partition("://") if isinstance(value, str) else ("", "", "")
    return bool(found) and scheme.isalpha() and scheme.lower() not in {"http", "https"}


def _is_name(text: str) -> bool:
    """Whether every program of an installation can take it; Python tells odd bytes as surrogates."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)
