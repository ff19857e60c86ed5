"""Find and load runs. A broken record becomes a message, never a traceback."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from sdxl_train_cli import files, layout
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.records import record, run_folders
from sdxl_train_cli.records.record import Outcome, Record, RunHeading, Supervisor

_LONGEST_HOST, _LONGEST_SHOWN = 64, 300
"""Characters shown of recorded text."""

_LONE = re.compile(rb"\\ud[89a-f]", re.IGNORECASE)
"""Lone surrogates: how Python represents bytes that are not UTF-8."""
_Shape = TypeVar("_Shape", bound=BaseModel)
_Front_co = TypeVar("_Front_co", bound=RunHeading, covariant=True)


class RunState(str, Enum):
    """State of a run."""

    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    """Cut off without an outcome: a kill, a power cut."""
    UNKNOWN = "unknown"
    """Started on another computer, which may still be training it."""
    BROKEN = "record broken"


ENDS = {state.value: state for state in (RunState.DONE, RunState.FAILED, RunState.STOPPED)}
"""States of a run that has ended, by what its outcome says."""


@dataclass(frozen=True)
class ListedRun(Generic[_Front_co]):
    """One run as found in its folder, with the whole record or only the heading for a list."""

    folder: Path
    state: RunState
    record: _Front_co
    """Empty if the record is broken."""
    outcome: Outcome | None = None
    problem: str | None = None
    """What is wrong with the record, or why the run's state is unknown."""
    slurm: str | None = None
    """The job of Slurm that was last seen with a run of unknown state."""

    @property
    def name(self) -> str:
        """Prefix of the run's files."""
        return self.record.name or self.folder.name

    @property
    def can_go_on(self) -> bool:
        """Whether it ended prematurely."""
        return self.state in {RunState.FAILED, RunState.STOPPED, RunState.INTERRUPTED}


Loaded = ListedRun[Record]


def load_heading(folder: Path) -> ListedRun[RunHeading]:
    """Load the part of one run that a list shows. An unreadable record makes it a broken run."""
    return _look(folder, RunHeading)


def load(folder: Path) -> Loaded:
    """Load one run. An unreadable record makes it a broken run."""
    return _look(folder, Record)


def find(text: str, output: Path, given: Path | None = None) -> Loaded:
    """Find a run by its name in the output folder, or by path.

    Raises UsageError with similar names, or the runs that are there. `given` is another folder that was typed, in which
    the run may be: it is named, not taken.
    """
    folder = _meant(text, output)
    if folder is None:
        raise UsageError(run_folders.no_run(text, output, given))
    if not files.is_file(folder / record.RUN):
        raise UsageError(run_folders.no_run_itself(folder, output))
    return load(folder)


def require(text: str, output: Path, given: Path | None = None) -> Loaded:
    """Find a run with a valid record, as `find` does. UsageError otherwise."""
    entry = find(text, output, given)
    if entry.state is RunState.BROKEN:
        raise UsageError(
            f"the record of {entry.folder} is broken: {entry.problem}", "its files and its log are untouched"
        )
    return entry


def _look(folder: Path, shape: type[_Front_co]) -> ListedRun[_Front_co]:
    unread = shape(sdxl_train="")
    try:
        kept = _read(folder / record.RUN, shape) or unread
        watcher = _read(folder / record.RUNNING, Supervisor)
        watched = _watched(folder, watcher) if watcher is not None else None
        outcome = _read(folder / record.OUTCOME, Outcome)  # read last, as a run may just be ending
        if outcome is None and watcher is None:
            watched = _watched(folder, None)
        if watched is RunState.RUNNING:
            return ListedRun(folder, RunState.RUNNING, kept)
        if watched is RunState.UNKNOWN and watcher is not None:
            return ListedRun(folder, RunState.UNKNOWN, kept, outcome, _elsewhere(watcher), watcher.slurm)
        state = RunState.INTERRUPTED if outcome is None else _ended(outcome)
    except (OSError, ValueError) as error:
        return ListedRun(folder, RunState.BROKEN, unread, problem=_reason(error))
    return ListedRun(folder, state, kept, outcome)


def _watched(folder: Path, watcher: Supervisor | None) -> RunState | None:
    """RUNNING or UNKNOWN. None if no process supervises the run."""
    if watcher is None and not os.path.lexists(folder / record.LOCK):
        return None
    from sdxl_train_cli.records import run_owner  # noqa: PLC0415 - most listings contain no active run

    life = run_owner.liveness(folder, watcher)
    return {run_owner.Liveness.ALIVE: RunState.RUNNING, run_owner.Liveness.UNKNOWN: RunState.UNKNOWN}.get(life)


def _elsewhere(watcher: Supervisor) -> str:
    where = f"on {watcher.host[:_LONGEST_HOST]}" if watcher.host else "elsewhere"
    return f"it was started {where}, and this computer can't see whether it is still running there"


def _ended(outcome: Outcome) -> RunState:
    state = ENDS.get(outcome.outcome)
    if state is None:
        raise ValueError(f"{record.OUTCOME}: outcome: no run ends as {outcome.outcome[:_LONGEST_HOST]!r}")
    return state


def _meant(text: str, output: Path) -> Path | None:
    typed = layout.expand(Path(text))
    is_path = len(Path(text).parts) > 1 or Path(text).is_absolute() or text in {".", ".."}
    candidates = [typed] if is_path else [output / text, typed]
    if typed.name == record.RUN and files.is_file(typed):
        candidates = [typed.parent]
    return next((folder for folder in candidates if text and files.is_folder(folder)), None)


def _read(path: Path, shape: type[_Shape]) -> _Shape | None:
    """Read a file as its model. None if absent. OSError and ValueError name the file."""
    try:
        text = files.read_bytes(path)
        return shape.model_validate_json(_readable(text) if _LONE.search(text) else text)
    except FileNotFoundError:
        return None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path.name}: {f'{where}: ' if where else ''}{first['msg']}") from error
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def _readable(text: bytes) -> bytes:
    """The JSON with ? for undecodable bytes in file names. ValueError if it is not JSON."""
    return json.dumps(files.parse_json(text), ensure_ascii=False).encode("utf-8", "replace")


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return f"{Path(str(error.filename)).name}: {error.strerror}"
    return " ".join(str(error).split())[:_LONGEST_SHOWN]
