"""`sdxl-train runs rerun`: repeat a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli.commands import train, train_options, workspace
from sdxl_train_cli.commands.cluster import submission
from sdxl_train_cli.commands.cluster.submission import Nodes, On
from sdxl_train_cli.commands.queue import adding
from sdxl_train_cli.commands.runs.showing import Run
from sdxl_train_cli.commands.train_options import (
    AsJson,
    BatchSize,
    Data,
    Epochs,
    Model,
    NoVramCheck,
    PredictionOption,
    Reg,
    Seed,
    Set,
    Steps,
    Vae,
)
from sdxl_train_cli.commands.workspace import HomeOption, OutputOption
from sdxl_train_cli.records import history
from sdxl_train_cli.run import preparation, repeating, several_gpus
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.ui import console

Name = Annotated[
    str | None, typer.Option("--name", "-n", metavar="NAME", help="Name of the run [default: the old, numbered]")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the command line and write nothing")]


def rerun(
    context: typer.Context, run: Run, name: Name = None, data: Data = None, model: Model = None, reg: Reg = None,
    vae: Vae = None, steps: Steps = None, epochs: Epochs = None, batch_size: BatchSize = None, seed: Seed = None,
    set_: Set = None, no_vram_check: NoVramCheck = False, prediction: PredictionOption = None, dry_run: DryRun = False,
    as_json: AsJson = False, output: OutputOption = None, on: On = None, nodes: Nodes = None, home: HomeOption = None,
) -> None:  # fmt: skip
    """Repeat a run under a new name."""
    entry = history.require(run, workspace.output(output))
    again = repeating.choices_of(entry, name, workspace.user_presets())
    if adding.is_asked(context):
        submission.require_none(on, nodes, again.choices.kind, run)
    chosen = again.choices if on is None else several_gpus.on(again.choices, ())  # Slurm chooses the GPUs
    cluster = submission.engine(on, nodes or (chosen.nodes if on is not None else None), chosen, home)
    where = workspace.home(home) if cluster is None else cluster.home
    lengths = {"max_train_steps": steps, "max_train_epochs": epochs}
    flags = train_options.from_flags({**lengths, "train_batch_size": batch_size, "seed": seed})
    typed = train_options.typed(flags, set_)
    choices = replace(
        _moved(chosen, data, model, reg, vae),
        prediction=prediction or again.choices.prediction,
        overrides=(*again.choices.overrides, *typed),
        check_vram=again.choices.check_vram and not no_vram_check,
        starts_later=cluster is not None or adding.is_asked(context),
        nodes=chosen.nodes if cluster is None else cluster.nodes,
    )
    checked = choices if cluster is None else submission.checked_as(choices, cluster)
    prepared = preparation.prepare(checked, where, workspace.user_presets())
    for note in (*again.notes, *repeating.changes(entry, prepared)):
        console.note(note)
    if cluster is not None:
        train.tell(prepared)
        submission.submit(replace(prepared, choices=choices), cluster, dry_run=dry_run, as_json=as_json)
        return
    if dry_run:
        train.show_prepared(prepared, as_json=as_json)
        return
    if choices.starts_later:
        adding.add(prepared, where, as_json=as_json)
        return
    train.launch(prepared, where, as_json=as_json)


def _moved(choices: Choices, data: str | None, model: str | None, reg: str | None, vae: str | None) -> Choices:
    """The choices with the places that were typed: what the run was made from may have moved."""
    return replace(
        choices,
        data=Path(data) if data else choices.data,
        model=model or choices.model,
        regularisation=choices.regularisation if reg is None else Path(reg) if reg else None,
        vae=choices.vae if vae is None else vae or None,
    )
