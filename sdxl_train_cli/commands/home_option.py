"""The option for the home folder."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipes import user_config

HomeOption = Annotated[
    str | None,
    typer.Option(
        "--home",
        metavar="PATH",
        help="Where setup installs [env: SDXL_TRAIN_HOME; default: the user's data folder]",
    ),
]
"""A string, as a Path can't distinguish an empty value (an unset variable) from the current folder."""


def home(typed: str | None) -> Home:
    """The home folder: typed, SDXL_TRAIN_HOME, the config file's, or the platform's."""
    return user_config.home(typed, os.environ)
