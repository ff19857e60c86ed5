"""`sdxl-train runs export`: a run as a task file for a cluster or a cloud."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import files
from sdxl_train_cli.cluster import task_files
from sdxl_train_cli.cluster.task_files import ExportedRun, TaskForm
from sdxl_train_cli.commands import values, workspace
from sdxl_train_cli.commands.runs.showing import Run
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.records import history, runs
from sdxl_train_cli.run import repeating
from sdxl_train_cli.ui import console, printing

To = Annotated[TaskForm, values.one_of("--to", TaskForm, about="What starts the task")]
File = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="A new file [default: print it]")]


def export(run: Run, to: To, output: File = None) -> None:
    """Write a run as a task for sbatch, SkyPilot or Kubernetes, with its settings in it."""
    entry = history.require(run, workspace.output(None))
    again = repeating.choices_of(entry, entry.name, workspace.user_presets())
    for note in again.notes:
        console.note(note)
    need = None if entry.outcome is None else entry.outcome.peak_gib
    choices = again.choices
    if to is TaskForm.SBATCH:  # it runs where this run's own folder is
        choices = replace(choices, name=runs.plan(choices.output, choices.name).name)
    text = task_files.write(ExportedRun(choices, need), to)
    if output is None:
        printing.document(text.rstrip("\n"))
        return
    try:
        files.write(output, text, over=False)
    except FileExistsError as error:
        raise UsageError(f"{output} exists already", "give --output another name, or delete it first") from error
    except OSError as error:
        raise UsageError(f"{output} can't be written: {error.strerror}", "give --output another place") from error
    printing.out(str(output))
