"""What waits for a node, as `runs list` and `runs watch` show it beside runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sdxl_train_cli.cluster.overview import TaskView  # a tenth of the time of a list, where there is no cluster


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
