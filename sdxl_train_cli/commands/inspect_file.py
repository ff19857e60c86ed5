"""`sdxl-train inspect`: what a LoRA or a checkpoint is, what it has learned, and which programs read it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import layout
from sdxl_train_cli.commands import home_option
from sdxl_train_cli.commands.home_option import HomeOption
from sdxl_train_cli.environment import environment
from sdxl_train_cli.errors import ModelError
from sdxl_train_cli.ui import file_look

File = Annotated[Path, typer.Argument(metavar="FILE", help="A .safetensors file: a LoRA or its kin, or a checkpoint")]
Base = Annotated[
    Path | None,
    typer.Option(
        "--base", metavar="FILE", help="Checkpoint that it was trained from [default: the one in its run's record]"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]


def inspect(file: File, base: Base = None, as_json: Json = False, home: HomeOption = None) -> None:
    """Show what a LoRA or checkpoint is, and what it learned."""
    path = layout.expand(file)
    installed = environment.find(home_option.home(home))
    is_of_use = file_look.show(path, installed, None if base is None else layout.expand(base), as_json=as_json)
    if not is_of_use:
        raise typer.Exit(ModelError.exit_code)
