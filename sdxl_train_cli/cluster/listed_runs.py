"""The runs of a folder as Slurm knows them, and what was submitted for it and waits.

Most computers have no cluster: what asks one is imported only where something was submitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sdxl_train_cli import files
from sdxl_train_cli.layout import Home
from sdxl_train_cli.records import history, run_list
from sdxl_train_cli.records.run_list import Listed

if TYPE_CHECKING:
    from sdxl_train_cli.cluster.overview import TaskView


def look(output: Path, home: Home) -> tuple[Sequence[Listed], Sequence[TaskView]]:
    """The runs of a folder, and what was submitted for it and waits, perhaps to go on. Slurm is asked if needed."""
    found = run_list.entries(output)
    if not (files.is_folder(home.cluster) or any(entry.slurm is not None for entry in found)):
        return found, []
    from sdxl_train_cli.cluster import overview  # noqa: PLC0415 - as above: it would be a tenth of the time

    seen = [history.load_heading(entry.folder) for entry in found if entry.slurm is not None]
    settled = {entry.folder.name: run_list.listed(entry) for entry in overview.settle(seen)}
    waiting = [view for view in overview.waiting(home.cluster) if view.task.output_folder == output]
    to_go_on = {str(view.task.run) for view in waiting}
    return [settled.get(entry.folder_name, entry) for entry in found if str(entry.folder) not in to_go_on], waiting
