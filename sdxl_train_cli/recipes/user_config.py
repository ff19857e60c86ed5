"""The user's config file: `config.yaml` in the config folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import files, layout
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipes import yaml_file

_KEYS = ("source", "home")


@dataclass(frozen=True)
class UserConfig:
    """Contents of the user's config file."""

    source: str | None = None
    home: str | None = None


def load(folder: Path) -> UserConfig:
    """Read the user's config file. An empty UserConfig if there is none."""
    path = folder / "config.yaml"
    return UserConfig(**yaml_file.texts(yaml_file.load(path), _KEYS)) if files.is_file(path) else UserConfig()


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


def _is_name(text: str) -> bool:
    """Whether every program of an installation can take it; Python tells odd bytes as surrogates."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)
