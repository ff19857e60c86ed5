"""Locations a command works with: home, user presets, the current folder's project; and the options for them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from sdxl_train_cli import layout
from sdxl_train_cli.commands.home_option import HomeOption, home
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import project_output, user_config
from sdxl_train_cli.recipes.user_config import UserConfig
from sdxl_train_cli.records import run_folders

__all__ = [
    "HomeOption",
    "KindFilter",
    "KindOption",
    "OutputOption",
    "complete_kinds",
    "config",
    "home",
    "kind",
    "output",
    "user_presets",
]


def complete_kinds(incomplete: str) -> list[str]:
    """Kinds that begin so, for the shell."""
    return [kind.value for kind in Kind if kind.value.startswith(incomplete)]


_KIND: Any = typer.Option("--kind", "-k", metavar="KIND", help=Kind.listed(), autocompletion=complete_kinds)
KindOption = Annotated[str, _KIND]
KindFilter = Annotated[str | None, _KIND]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FOLDER", help="Folder of runs [default: the project's, else output]"),
]


def output(typed: Path | None) -> Path:
    """The folder of runs: typed, else the project file's, else the default."""
    written = None if typed is not None else project_output.load(Path.cwd())
    return layout.expand(typed or Path(written or run_folders.USUAL_OUTPUT))


def config() -> UserConfig:
    """The user's config file."""
    return user_config.load(layout.config_folder(os.environ))


def user_presets() -> Path:
    """The user's own presets."""
    return layout.user_presets(os.environ)


def kind(text: str, *more: str) -> Kind:
    """The kind of this name. UsageError for an unknown name: it lists the kinds, and what `more` the option takes."""
    kinds = {one.value: one for one in Kind}
    if text not in kinds:
        raise UsageError(f"no kind '{text}'", f"one of: {', '.join((*kinds, *more))}")
    return kinds[text]
