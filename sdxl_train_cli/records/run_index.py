"""What a list shows of runs that have ended, remembered, so that a long list opens none of their files.

The folders are the truth: an entry counts while its run's files are as they were, by size, times and inode. The index
may be deleted at any time; a broken one is replaced, and one that can't be written is done without.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from sdxl_train_cli import layout
from sdxl_train_cli.records import record
from sdxl_train_cli.records.record import Outcome, RunHeading

NAME = "runs-1.sqlite"
"""File name. The number is the format version and grows with every change of format."""
_SECONDS_TO_WAIT = 2.0
"""How long to wait for another command to finish writing. An index is not worth more."""
_TABLE = """
CREATE TABLE IF NOT EXISTS runs
    (output BLOB NOT NULL, name BLOB NOT NULL, stamp TEXT NOT NULL, heading TEXT NOT NULL, outcome TEXT NOT NULL,
    PRIMARY KEY (output, name)) WITHOUT ROWID
"""


class EndedRun(NamedTuple):
    """What a list shows of a run that has ended."""

    heading: RunHeading
    outcome: Outcome


def stamp(folder: str) -> str | None:
    """The state of a run's files. None if the run may not have ended."""
    try:
        run, outcome = os.stat(f"{folder}{_RUN}"), os.stat(f"{folder}{_OUTCOME}")  # noqa: PTH116 - thousands of them
    except (OSError, ValueError):
        return None
    if os.path.lexists(f"{folder}{_RUNNING}"):
        return None
    return (
        f"{run.st_size} {run.st_mtime_ns} {run.st_ctime_ns} {run.st_ino}"
        f" {outcome.st_size} {outcome.st_mtime_ns} {outcome.st_ctime_ns} {outcome.st_ino}"
    )


_RUN, _OUTCOME, _RUNNING = (os.sep + name for name in (record.RUN, record.OUTCOME, record.RUNNING))


class RememberedRun(NamedTuple):
    """A row of the index, unread."""

    stamp: str
    heading: str
    outcome: str

    def parse(self) -> EndedRun | None:
        """What it says. None if it can't be read."""
        with contextlib.suppress(ValueError):  # pydantic's errors are ValueErrors
            return EndedRun(RunHeading.model_validate_json(self.heading), Outcome.model_validate_json(self.outcome))
        return None


def load(output: Path) -> dict[str, RememberedRun]:
    """The remembered runs of a folder by name."""
    query = "SELECT name, stamp, heading, outcome FROM runs WHERE output = ?"
    with contextlib.suppress(sqlite3.Error, OSError), _opened() as database:
        return {
            os.fsdecode(name): RememberedRun(*row) for name, *row in database.execute(query, (os.fsencode(output),))
        }
    return {}


def keep(output: Path, runs: Iterable[tuple[str, str, EndedRun]], gone: Iterable[str]) -> None:
    """Remember runs of a folder, each with its name and the stamp from before it was read, and forget those gone."""
    key = os.fsencode(output)
    rows = [
        (key, os.fsencode(name), stamped, *(part.model_dump_json(exclude_unset=True) for part in run))
        for name, stamped, run in runs
    ]
    with contextlib.suppress(sqlite3.Error, OSError), _opened() as database, database:
        database.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)", rows)
        forgotten = [(key, os.fsencode(name)) for name in gone]
        database.executemany("DELETE FROM runs WHERE output = ? AND name = ?", forgotten)


@contextlib.contextmanager
def _opened() -> Iterator[sqlite3.Connection]:
    path = layout.cache_folder(os.environ) / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=_SECONDS_TO_WAIT)) as database:
            database.execute("PRAGMA synchronous = OFF")  # a power cut may corrupt it; it is then made anew
            database.execute(_TABLE)
            yield database
    except (sqlite3.OperationalError, sqlite3.ProgrammingError):
        raise  # locked, or no space: the file is as it was
    except sqlite3.DatabaseError:
        path.unlink(missing_ok=True)
        raise
