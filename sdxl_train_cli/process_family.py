"""Every process that a command has started, wherever it has moved: found by a mark that processes inherit."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

MARK = "SDXL_TRAIN_CHILD"
"""Environment variable that carries the mark. A process can leave its group with `setsid`, but not this."""


def new_mark() -> str:
    """A mark for a command of this process."""
    return f"{marks_of_this_process()}{secrets.token_hex(8)}"


def marks_of_this_process() -> str:
    """What the marks of all its commands begin with. No other process of this computer has the same."""
    pid = os.getpid()
    born = ticks(pid)
    return f"{pid}-{int(100 * psutil.Process(pid).create_time()) if born is None else born}-"


def ticks(pid: int) -> int | None:
    """A process's start in clock ticks since boot. Setting the clock does not change it. None outside Linux."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return int(fields[19])  # field 22 of the line; the second one, the name, may contain spaces
    return None


def members(mark: str) -> list[psutil.Process]:
    """Living processes whose mark begins so, oldest first. Processes of other users can't be read."""
    found = [process for process in psutil.process_iter() if _bears(process, mark)]
    return sorted(found, key=_age)


def lives(process: psutil.Process) -> bool:
    """Whether a process still runs. Zombies do not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def kill(processes: Iterable[psutil.Process], seconds: float) -> None:
    """Kill processes and wait `seconds` for them to end. A dying process still exists, but its mark can't be read."""
    dying = list(processes)
    for process in dying:
        with contextlib.suppress(psutil.Error):
            process.kill()
    end = time.monotonic() + seconds
    while any(map(lives, dying)) and time.monotonic() < end:
        time.sleep(0.01)


def _bears(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK, "").startswith(mark) and lives(process)
    except (psutil.Error, OSError, ValueError):
        return False


def _age(process: psutil.Process) -> tuple[float, int]:
    try:
        return process.create_time(), process.pid
    except psutil.Error:
        return 0.0, process.pid
