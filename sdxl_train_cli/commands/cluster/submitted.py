"""What `runs list` and `runs watch` show of a cluster: runs on its nodes, and what waits for one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.cluster import overview
from sdxl_train_cli.cluster.overview import TaskState, TaskView
from sdxl_train_cli.layout import Home
from sdxl_train_cli.records import history
from sdxl_train_cli.records.history import Listed


def look(output: Path, home: Home) -> tuple[Sequence[Listed], Sequence[TaskView]]:
    """The runs of a folder, and what was submitted for it and waits, perhaps to go on. Slurm is asked if needed."""
    found = history.entries(output)
    if any(entry.slurm is not None for entry in found):
        found = overview.settle(found)
    waiting = overview.views(home.cluster) if files.is_folder(home.cluster) else []
    waiting = [view for view in waiting if view.state is TaskState.PENDING and view.task.output_folder == output]
    to_go_on = {view.task.run for view in waiting}
    return [entry for entry in found if entry.folder not in to_go_on], waiting


def row(view: TaskView) -> tuple[str, ...]:
    """What waits, as a row of the list of runs."""
    task = view.task
    name = task.name if task.run is None else task.run.name
    return name, f"{view.words}, job {view.job}", task.kind, task.preset, "", "", "", ""


def facts(view: TaskView) -> dict[str, object]:
    """What waits, as JSON."""
    return {"name": view.task.name, "folder": None if view.task.run is None else str(view.task.run),
            "state": view.state.value, "problem": view.detail or None, "job": view.job,
            "kind": view.task.kind, "preset": view.task.preset}  # fmt: skip
