"""The runs of an output folder, found and loaded from their records; a broken one is told, never a traceback."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from sdxl_train_cli import layout, spelling
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.keeping import record
from sdxl_train_cli.keeping.record import Heading, Outcome, Record, Supervisor

USUAL_OUTPUT = "output"
"""Where runs are looked for; as preparation's own, whose import would cost more than a whole listing."""
_SAME_BIRTH_SECONDS = 2.0
"""Two clocks of one process differ by less; two processes of one number are further apart."""

_LONE = re.compile(rb"\\ud[89a-f]", re.IGNORECASE)
"""Half of a letter, as Python writes bytes that are no UTF-8."""
_Shape = TypeVar("_Shape", bound=BaseModel)
_Front_co = TypeVar("_Front_co", bound=Heading, covariant=True)


class State(str, Enum):
    """How a run stands."""

    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    """Cut off without a word: a kill, a power loss."""
    BROKEN = "record broken"


@dataclass(frozen=True)
class Entry(Generic[_Front_co]):
    """One run as its folder tells it: its whole record, or the heading for a list."""

    folder: Path
    state: State
    record: _Front_co
    """Without any fact where it is broken."""
    outcome: Outcome | None = None
    problem: str | None = None
    """What is wrong with the record."""

    @property
    def name(self) -> str:
        """The name that its files begin with."""
        return self.record.name or self.folder.name

    @property
    def can_go_on(self) -> bool:
        """Whether it ended before its time."""
        return self.state in {State.FAILED, State.STOPPED, State.INTERRUPTED}


Listed = Entry[Heading]
Loaded = Entry[Record]


def entries(output: Path) -> list[Listed]:
    """Every run directly in a folder, newest first; three small files of each are read and nothing else."""
    try:
        found = [_look(folder, Heading) for folder in _folders(output)]
    except OSError as error:
        raise UsageError(f"{output} can't be read: {error.strerror}", "give --output a folder") from error
    return sorted(found, key=_age, reverse=True)


def load(folder: Path) -> Loaded:
    """One run; a record that can't be read makes it a broken one."""
    return _look(folder, Record)


def find(text: str, output: Path) -> Loaded:
    """The run that a person means: a name in the output folder, or a path.

    Raises UsageError, with the names that resemble it.
    """
    folder = _meant(text, output)
    if folder is None:
        names = [path.name for path in _folders(output)] if output.is_dir() else []
        hint = spelling.resembling(text, names) or "see `sdxl-train runs list`, or give a run's folder"
        raise UsageError(f"no run '{text}' in {output}", hint)
    if not (folder / record.RUN).is_file():
        raise UsageError(f"{folder} is no run's folder: it has no {record.RUN}", "see `sdxl-train runs list`")
    return load(folder)


def require(text: str, output: Path) -> Loaded:
    """The run that is meant, whose record is whole; else UsageError."""
    entry = find(text, output)
    if entry.state is State.BROKEN:
        raise UsageError(
            f"the record of {entry.folder} is broken: {entry.problem}", "its files and its log are untouched"
        )
    return entry


def lives(supervisor: Supervisor) -> bool:
    """Whether the process that watches a run is there, and is not another of the same number."""
    import psutil  # noqa: PLC0415 - most listings hold no run that goes on

    try:
        process = psutil.Process(supervisor.pid)
        same = abs(process.create_time() - supervisor.created) < _SAME_BIRTH_SECONDS
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError, OverflowError):
        return False


def _look(folder: Path, shape: type[_Front_co]) -> Entry[_Front_co]:
    unread = shape(sdxl_train="")
    try:
        kept = _read(folder / record.RUN, shape) or unread
        supervisor = _read(folder / record.RUNNING, Supervisor)
        if supervisor is not None and lives(supervisor):
            return Entry(folder, State.RUNNING, kept)
        outcome = _read(folder / record.OUTCOME, Outcome)
        state = State.INTERRUPTED if outcome is None else State(outcome.outcome)
    except (OSError, ValueError) as error:
        return Entry(folder, State.BROKEN, unread, problem=_reason(error))
    return Entry(folder, state, kept, outcome)


def _folders(output: Path) -> Iterator[Path]:
    if not output.exists():
        return
    with os.scandir(output) as found:
        for entry in found:
            # Asked of the file alone: a second question for each folder would be felt in a thousand.
            if os.path.isfile(os.path.join(entry.path, record.RUN)):  # noqa: PTH113, PTH118 - as above
                yield Path(entry.path)


def _meant(text: str, output: Path) -> Path | None:
    typed = layout.expanded(Path(text))
    is_path = len(Path(text).parts) > 1 or Path(text).is_absolute() or text in {".", ".."}
    candidates = [typed] if is_path else [output / text, typed]
    if typed.name == record.RUN and typed.is_file():
        candidates = [typed.parent]
    return next((folder for folder in candidates if text and folder.is_dir()), None)


def _read(path: Path, shape: type[_Shape]) -> _Shape | None:
    """A file in its shape, None where it is absent; OSError and ValueError name the file."""
    try:
        text = path.read_bytes()
        return shape.model_validate_json(_readable(text) if _LONE.search(text) else text)
    except FileNotFoundError:
        return None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path.name}: {f'{where}: ' if where else ''}{first['msg']}") from error


def _readable(text: bytes) -> bytes:
    """The same JSON with a ? for what is no letter in file names that are no UTF-8; ValueError where it is none."""
    whole = json.dumps(json.loads(text), ensure_ascii=False)
    return whole.encode("utf-8", "replace")


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return f"{Path(str(error.filename)).name}: {error.strerror}"
    return " ".join(str(error).split())


def _age(entry: Listed) -> float:
    """When it began; a broken record leaves the folder's own time."""
    started: datetime | None = entry.record.started
    if started is not None:
        return started.timestamp()
    try:
        return entry.folder.stat().st_mtime
    except OSError:
        return 0.0
