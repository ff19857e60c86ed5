"""`sdxl-train runs`: one line for each of its commands."""

from __future__ import annotations

import typer

from sdxl_train_cli.commands import explain, listing, report, rerun, resume, rm, tensorboard

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.command("list")(listing.list_)
app.command()(listing.show)
app.command()(listing.diff)
app.command()(explain.explain)
app.command()(resume.resume)
app.command()(rerun.rerun)
app.command()(report.report)
app.command()(rm.rm)
app.command()(tensorboard.tensorboard)
