"""`sdxl-train cluster run`: what a job does on its node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import signals
from sdxl_train_cli.cluster import carrying, checking
from sdxl_train_cli.cluster.batch import Batch
from sdxl_train_cli.cluster.task_folder import Task
from sdxl_train_cli.commands import train, workspace
from sdxl_train_cli.commands.runs import resume
from sdxl_train_cli.commands.runs.resume import ResumeRequest
from sdxl_train_cli.commands.sweep import continuing
from sdxl_train_cli.commands.workspace import HomeOption
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.jobs.job import KeptResume
from sdxl_train_cli.jobs.starting import JobActions
from sdxl_train_cli.jobs.store import Kept
from sdxl_train_cli.layout import Home
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.run import guards, preparation
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.sweeps.searching import LagCheck
from sdxl_train_cli.ui import console

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of what was submitted", show_default=False)]
Element = Annotated[int, typer.Argument(metavar="ELEMENT", help="Its element to carry out")]
Check = Annotated[bool, typer.Option("--check", hidden=True)]


def run(folder: Folder, element: Element = 0, check: Check = False, home: HomeOption = None) -> None:
    """Carry out one training of a submission, on the node that Slurm has given it."""
    where = workspace.home(home)
    if check:
        checking.write_answer(where, folder)
        return
    signals.raise_stopped_once()
    batch = Batch(folder)
    task = batch.task(element)

    def with_point(found: Task) -> Task:
        if not found.search or (found.point is not None and found.point.is_checked):
            return found
        return continuing.search_of(where, batch, found).with_point(found)

    carrying.carry_out(batch, task, workspace.user_presets(), _actions(where, batch, task), with_point)


def _actions(where: Home, batch: Batch, task: Task) -> JobActions:
    def start(choices: Choices, kept: Kept, note_folder: Callable[[Path], None]) -> None:
        ends_early = _ends_early(where, batch, task)
        prepared = replace(preparation.prepare(choices, where, workspace.user_presets()), ends_early=ends_early)
        off = guards.parse(list(kept.guards_off))
        train.launch(prepared, where, off, step_downs=kept.step_downs, note_folder=note_folder)

    def go_on(entry: Loaded, kept: Kept) -> None:
        asked = task.resume or KeptResume()
        request = ResumeRequest(
            steps=asked.steps, force=asked.force, check_vram=asked.check_vram,
            guards_off=guards.parse(list(kept.guards_off)), step_downs=kept.step_downs,
            gpu_indices=(), saves_on_stop=True,  # it may have begun on another computer
            ends_early=_ends_early(where, batch, task),
        )  # fmt: skip
        resume.launch(entry, where, request)

    return JobActions(start, go_on, console.note)


def _ends_early(where: Home, batch: Batch, task: Task) -> Callable[[], str | None] | None:
    """What is asked while a point of a search trains: why to stop it early."""
    if not task.search:
        return None
    try:
        search = continuing.search_of(where, batch, task)
    except UsageError:  # the sweep was forgotten
        return None
    lag = LagCheck(search.follow, task.token)

    def ask() -> str | None:
        folder = task.run
        return lag(folder) if folder is not None and search.sweep.prunes else None

    return ask
