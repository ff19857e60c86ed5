"""All that a command has started, wherever it has put itself: told by a mark that every process inherits."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable

import psutil

MARK = "SDXL_TRAIN_CHILD"
"""The environment variable that bears it. A group of processes can be left with `setsid`, and this can't."""


def members(mark: str) -> list[psutil.Process]:
    """The living processes with this mark, the oldest first; those of other users can't be asked."""
    found = [process for process in psutil.process_iter() if _bears(process, mark)]
    return sorted(found, key=_age)


def lives(process: psutil.Process) -> bool:
    """Whether it still works: the dead that nobody has buried yet do not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def kill(processes: Iterable[psutil.Process], seconds: float) -> None:
    """End them now, and wait so long for their end: one that dies still counts, but can't be asked for its mark."""
    dying = list(processes)
    for process in dying:
        with contextlib.suppress(psutil.Error):
            process.kill()
    end = time.monotonic() + seconds
    while any(map(lives, dying)) and time.monotonic() < end:
        time.sleep(0.01)


def _bears(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK) == mark and lives(process)
    except (psutil.Error, OSError, ValueError):
        return False


def _age(process: psutil.Process) -> tuple[float, int]:
    try:
        return process.create_time(), process.pid
    except psutil.Error:
        return 0.0, process.pid
