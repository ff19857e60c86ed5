"""Why a run can't be changed now: a process trains it."""

from __future__ import annotations

from sdxl_train_cli import formatting
from sdxl_train_cli.errors import Problem
from sdxl_train_cli.records import run_owner
from sdxl_train_cli.records.history import Loaded, RunState


def still_running(entry: Loaded, *, force: bool, command: str) -> Problem | None:
    """Why a run can't be changed now: it is running, possibly on another computer. None if it can.

    `force` asserts that the user has checked the other computer. The hint is the `command` of `sdxl-train runs` with
    that flag.
    """
    if entry.state is RunState.RUNNING:
        return run_owner.running_problem(entry.folder, entry.name)
    if entry.state is RunState.UNKNOWN and not force:
        retry = f"sdxl-train runs {command} {formatting.shell_word(entry.folder)} --force"
        return Problem(f"{entry.name}: {entry.problem}", f"check there first; if it has ended: {retry}")
    return None
