"""`sdxl-train runs rm`: delete runs after confirmation."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sdxl_train_cli import formatting
from sdxl_train_cli.commands import completion, workspace
from sdxl_train_cli.commands.workspace import OutputOption
from sdxl_train_cli.errors import Gathering, UsageError
from sdxl_train_cli.records import history, removal
from sdxl_train_cli.ui import console

Runs = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN",
        autocompletion=completion.run_names,
        help="Names from `sdxl-train runs list`, or runs' folders",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation")]
KeepResult = Annotated[bool, typer.Option("--keep-result", help="Keep the final trained file")]
Force = Annotated[bool, typer.Option("--force", help="Delete it even if another computer may be training it")]


def rm(
    runs: Runs, yes: Yes = False, keep_result: KeepResult = False, force: Force = False, output: OutputOption = None
) -> None:
    """Delete runs and everything that they made. What is not theirs stays in their folders."""
    folder = workspace.output(output)
    gathering = Gathering()
    found = {}
    for run in runs:
        with gathering.part():
            entry = history.find(run, folder)
            if problem := removal.problem(entry, force=force):
                raise UsageError(problem)
            found[entry.folder] = removal.plan_deletion(entry, keep_result=keep_result)
    gathering.require_none()
    for deletion in found.values():
        console.note(f"{formatting.size(deletion.size_bytes):>9}  {deletion.words}")
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("there is no terminal to ask for confirmation", "add --yes to delete without asking")
        if not typer.confirm("delete?" if len(found) == 1 else f"delete these {len(found)} runs?", err=True):
            console.note("nothing was deleted")
            return
    for deletion in found.values():
        removal.remove(deletion, force=force)
        console.out(str(deletion.entry.folder))
