"""What lists show of things that have ended, remembered, so that a long list opens none of their files.

The folders are the truth: a row counts while the files that it came from are as they were, which its stamp tells. The
index may be deleted at any time; a broken one is replaced, and one that can't be written is done without.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sdxl_train_cli import layout

NAME = "ended-1.sqlite"
"""File name. The number is the format version and grows with every change of what is kept."""
_SECONDS_TO_WAIT = 2.0
"""How long to wait for another command to finish writing. An index is not worth more."""
_TABLE = """
CREATE TABLE IF NOT EXISTS ended
    (what TEXT NOT NULL, place BLOB NOT NULL, name BLOB NOT NULL, stamp TEXT NOT NULL, facts TEXT NOT NULL,
    checksum INTEGER NOT NULL, PRIMARY KEY (what, place, name)) WITHOUT ROWID
"""


class Ended(NamedTuple):
    """One thing that has ended."""

    name: str
    """Unique in its folder."""
    stamp: str
    """The state of its files before they were read."""
    facts: Sequence[object]
    """What is shown of it, as JSON takes it."""


def stamp(found: os.stat_result) -> str:
    """The state of a file."""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


def load(place: Path, what: str) -> Mapping[str, Ended]:
    """What is remembered of a folder, by name. Rows that are not as they were written are left out.

    `what` tells apart what several lists remember of the same folder.
    """
    query = "SELECT name, stamp, facts, checksum FROM ended WHERE what = ? AND place = ?"
    with contextlib.suppress(sqlite3.Error, OSError), _opened() as database:
        rows = database.execute(query, (what, os.fsencode(place))).fetchall()
        sound = [(name, stamped, facts) for name, stamped, facts, told in rows if told == _checksum(stamped, facts)]
        with contextlib.suppress(ValueError):
            each = json.loads(f"[{','.join(facts for _, _, facts in sound)}]")  # ten times as fast as one by one
            named = [(os.fsdecode(name), stamped) for name, stamped, _ in sound]
            return {name: Ended(name, stamped, facts) for (name, stamped), facts in zip(named, each, strict=True)}
    return {}


def keep(place: Path, ended: Iterable[Ended], gone: Iterable[str] = (), *, what: str) -> None:
    """Remember what has ended in a folder, and forget what is gone."""
    key = os.fsencode(place)
    texts = [(one.name, one.stamp, json.dumps(one.facts, separators=(",", ":"))) for one in ended]
    rows = [(what, key, os.fsencode(name), stamped, facts, _checksum(stamped, facts)) for name, stamped, facts in texts]
    with contextlib.suppress(sqlite3.Error, OSError), _opened() as database, database:
        database.executemany("INSERT OR REPLACE INTO ended VALUES (?, ?, ?, ?, ?, ?)", rows)
        forgotten = [(what, key, os.fsencode(name)) for name in gone]
        database.executemany("DELETE FROM ended WHERE what = ? AND place = ? AND name = ?", forgotten)


def _checksum(stamped: object, facts: object) -> int:
    return zlib.crc32(f"{stamped} {facts}".encode(errors="replace"))


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
