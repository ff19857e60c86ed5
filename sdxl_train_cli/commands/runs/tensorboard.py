"""`sdxl-train runs tensorboard`: TensorBoard for one run or all runs."""

from __future__ import annotations

from typing import Annotated

import typer

from sdxl_train_cli import files
from sdxl_train_cli.commands import completion, values, workspace
from sdxl_train_cli.commands.workspace import HomeOption, OutputOption
from sdxl_train_cli.environment import environment
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.records import history, record
from sdxl_train_cli.run import tensorboard
from sdxl_train_cli.ui import console

MaybeRun = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN",
        autocompletion=completion.run_names,
        help="A run [default: all runs in the folder]",
        show_default=False,
    ),
]
Port = Annotated[
    int | None,
    values.whole("--port", metavar="PORT", least=0, most=65535, about="Port [default: TensorBoard's own, 6006]"),
]


def serve(run: MaybeRun = None, port: Port = None, output: OutputOption = None, home: HomeOption = None) -> None:
    """Show the logs of one run, or of all, in TensorBoard. Until Ctrl-C; the address goes to stdout."""
    installed = environment.require(workspace.home(home))
    tensorboard.require(installed)
    folder = workspace.output(output)
    logs = folder if run is None else history.find(run, folder).folder / record.EVENTS
    if not files.is_folder(logs):
        hint = "give -o the folder that holds the runs" if run is None else "give the folder of another run"
        raise UsageError(f"there are no logs: {logs} does not exist", hint)
    console.note(f"TensorBoard reads {logs}; Ctrl-C ends it")
    tensorboard.serve(installed, logs, port, console.out)
