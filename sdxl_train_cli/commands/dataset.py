"""`sdxl-train dataset`: look at a folder of pictures before it wastes a night."""

from __future__ import annotations

import typer

from sdxl_train_cli.commands import dataset_caption, dataset_check, dataset_fix, dataset_show

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.command("check")(dataset_check.check)
app.command("show")(dataset_show.show)
app.command("fix")(dataset_fix.fix)
app.command("caption")(dataset_caption.caption)
