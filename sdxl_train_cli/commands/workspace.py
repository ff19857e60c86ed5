"""Locations a command works with: home, user presets, the current folder's project; and the options for them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdxl_train_cli import layout
from sdxl_train_cli.commands.home_option import HomeOption, home
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import project, user_config
from sdxl_train_cli.recipes.user_config import UserConfig
from sdxl_train_cli.records import run_folders
from sdxl_train_cli.ui import console

if TYPE_CHECKING:
    from sdxl_train_cli.dataset.survey import OnProgress  # half of the time that this module took to import

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
    "picture_progress",
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
    written = None
    if typed is None and Path(layout.PROJECT_FILE).is_file():  # otherwise PyYAML need not be imported
        written = project.load(Path.cwd()).output
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


@contextmanager
def picture_progress(what: str = "looking at pictures") -> Iterator[OnProgress | None]:
    """A progress bar for work on pictures. Yields None, without importing rich, if there is no terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return

    with console.progress_bar(what) as on_progress:
        yield on_progress
