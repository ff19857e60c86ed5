"""`sdxl-train runs rerun`: repeat a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from sdxl_train_cli.commands import train, train_options, workspace
from sdxl_train_cli.commands.queue import adding
from sdxl_train_cli.commands.runs.listing import Run
from sdxl_train_cli.commands.train_options import AsJson, PredictionOption, Seed, Set
from sdxl_train_cli.commands.workspace import HomeOption, OutputOption
from sdxl_train_cli.records import history
from sdxl_train_cli.run import preparation, repeating
from sdxl_train_cli.ui import console

Name = Annotated[
    str | None, typer.Option("--name", "-n", metavar="NAME", help="Name of the run [default: the old, numbered]")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the command line and write nothing")]


def rerun(
    context: typer.Context, run: Run, name: Name = None, seed: Seed = None, set_: Set = None,
    prediction: PredictionOption = None, dry_run: DryRun = False, as_json: AsJson = False,
    output: OutputOption = None, home: HomeOption = None,
) -> None:  # fmt: skip
    """Repeat a run under a new name."""
    entry = history.require(run, workspace.output(output))
    again = repeating.choices_of(entry, name, workspace.user_presets())
    where = workspace.home(home)
    typed = train_options.typed(train_options.from_flags({"seed": seed}), set_)
    choices = replace(
        again.choices,
        prediction=prediction or again.choices.prediction,
        overrides=(*again.choices.overrides, *typed),
        starts_later=adding.is_asked(context),
    )
    prepared = preparation.prepare(choices, where, workspace.user_presets())
    for note in (*again.notes, *repeating.changes(entry, prepared)):
        console.note(note)
    if dry_run:
        train.show_prepared(prepared, as_json=as_json)
        return
    if choices.starts_later:
        adding.add(prepared, where, as_json=as_json)
        return
    train.launch(prepared, where, as_json=as_json)
