"""`sdxl-train dataset`: look at a folder of pictures before it wastes a night."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
