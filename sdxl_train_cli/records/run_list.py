"""List the runs of an output folder. A broken record becomes a message, never a traceback."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from sdxl_train_cli import files
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.records import ended_index, history, run_folders
from sdxl_train_cli.records.ended_index import Ended
from sdxl_train_cli.records.history import ListedRun, RunState
from sdxl_train_cli.records.record import RunHeading

_MANY = 500
"""Runs from which on a list remembers those that have ended: fewer are read in no time."""
_WHAT = "run"


class Listed(NamedTuple):
    """What a list shows of one run: plain values, as there may be thousands."""

    output: str
    """The folder that it lies in."""
    folder_name: str
    state: RunState
    name: str
    """Prefix of the run's files."""
    kind: str | None = None
    preset: str | None = None
    pictures: int | None = None
    steps: int | None = None
    loss: float | None = None
    seconds: float | None = None
    found: str | None = None
    """What was found in the file that was looked at last."""
    started: datetime | None = None
    ended: datetime | None = None
    problem: str | None = None
    """What is wrong with the record, or why the run's state is unknown."""
    slurm: str | None = None
    """The job of Slurm that was last seen with a run of unknown state."""

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self.output, self.folder_name)


_FIRST, _LAST = Listed._fields.index("state"), Listed._fields.index("ended")
"""What the index remembers of a run that has ended."""
_TIMES = tuple(Listed._fields.index(name) - _FIRST for name in ("started", "ended"))


def entries(output: Path) -> list[Listed]:
    """Runs directly in a folder, newest first. Reads only three small files of each, and of many only what is new."""
    try:
        is_long = files.exists(output) and len(os.listdir(output)) >= _MANY  # noqa: PTH208 - a Path for each is slow
        found = _remembered(output) if is_long else list(map(_read, run_folders.find(output)))
    except OSError as error:
        raise UsageError(f"{output} can't be read: {error.strerror}", "give --output a folder") from error
    return sorted(found, key=_age, reverse=True)


def listed(entry: ListedRun[RunHeading]) -> Listed:
    """What a list shows of a run."""
    kept, outcome = entry.record, entry.outcome
    return Listed(
        output=str(entry.folder.parent),
        folder_name=entry.folder.name,
        state=entry.state,
        name=entry.name,
        kind=kept.kind,
        preset=kept.preset,
        pictures=kept.pictures,
        steps=outcome.steps if outcome else None,
        loss=outcome.loss if outcome else None,
        seconds=outcome.seconds if outcome else None,
        found=outcome.examined[-1].summary if outcome and outcome.examined else None,
        started=kept.started,
        ended=outcome.ended if outcome else None,
        problem=entry.problem,
        slurm=entry.slurm,
    )


def _read(folder: Path) -> Listed:
    return listed(history.load_heading(folder))


def _remembered(output: Path) -> list[Listed]:
    """The runs in a folder. Those that have ended are taken from the index while their files are as they were."""
    place = str(output)
    return list(ended_index.remembered(
        output, _WHAT, _stamps(place), lambda name: _read(Path(place, name)), _facts, lambda row: _parse(place, row)
    ).values())  # fmt: skip


def _stamps(place: str) -> Iterator[tuple[str, str | None]]:
    """Each folder that is a run, with the state of its files."""
    with os.scandir(place) as each_entry:
        for each in each_entry:
            stamp = ended_index.run_stamp(each.path)
            if stamp is not None or run_folders.is_run(each.path):
                yield each.name, stamp


def _facts(entry: Listed) -> Sequence[object] | None:
    """What the index remembers, as JSON takes it. None of a run that has not ended."""
    if entry.state.value not in history.ENDS:
        return None
    return [value.isoformat() if isinstance(value, datetime) else value for value in entry[_FIRST : _LAST + 1]]


def _parse(place: str, row: Ended) -> Listed:
    facts: list[Any] = list(row.facts)
    facts[0] = history.ENDS[facts[0]]
    for at in _TIMES:
        facts[at] = facts[at] and datetime.fromisoformat(facts[at])
    return Listed(place, row.name, *facts)


def _age(entry: Listed) -> float:
    """When the run began. For a broken record, the folder's time."""
    if entry.started is not None:
        return entry.started.timestamp()
    try:
        return entry.folder.stat().st_mtime
    except OSError:
        return 0.0
