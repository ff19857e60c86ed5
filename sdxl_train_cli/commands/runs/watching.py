"""`sdxl-train runs watch`: the list of runs, drawn anew."""

from __future__ import annotations

from sdxl_train_cli.cluster import listed_runs
from sdxl_train_cli.commands import workspace
from sdxl_train_cli.commands.runs import listing
from sdxl_train_cli.commands.workspace import HomeOption, OutputOption
from sdxl_train_cli.ui import console

_WATCH_SECONDS = 5.0


def watch(output: OutputOption = None, home: HomeOption = None) -> None:
    """Watch every run: what trains and how far it is, what waits on a cluster."""
    folder, where = workspace.output(output), workspace.home(home)
    console.redraw(lambda: listing.lines(*listed_runs.look(folder, where)), _WATCH_SECONDS)
