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
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from sdxl_train_cli import layout
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.records import record

NAME = "ended-2.sqlite"
"""File name. The number is the format version and grows with every change of what is kept."""
_SECONDS_TO_WAIT = 2.0
"""How long to wait for another command to finish writing. An index is not worth more."""
_RUN, _OUTCOME, _RUNNING = (os.sep + name for name in (record.RUN, record.OUTCOME, record.RUNNING))
_Kept = TypeVar("_Kept")
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


def run_stamp(folder: str, also: Sequence[str] = ()) -> str | None:
    """The state of a run's files, and of others in its folder. None if the run may not have ended."""
    try:
        found = [os.stat(folder + _RUN), os.stat(folder + _OUTCOME)]  # noqa: PTH116 - thousands of them
    except (OSError, ValueError):
        return None
    if os.path.lexists(folder + _RUNNING):
        return None
    for name in also:
        with contextlib.suppress(OSError):
            found.append(os.stat(os.path.join(folder, name)))  # noqa: PTH116, PTH118 - as above
    return " ".join(map(stamp, found))


def remembered(  # noqa: PLR0913, PLR0917 - how one kind of thing is read, written and read back
    place: Path,
    what: str,
    stamps: Iterable[tuple[str, str | None]],
    read: Callable[[str], _Kept | None],
    facts: Callable[[_Kept], Sequence[object] | None],
    parse: Callable[[Ended], _Kept],
) -> dict[str, _Kept]:
    """Things in a folder, by name: from the index where the stamp is as it was, else read and then remembered.

    A stamp of None, or facts of None, is what has not ended. What `read` gives None for is left out. A name whose first
    part is no longer in the folder is forgotten.
    """
    known, found, fresh = load(place, what), dict[str, _Kept](), list[Ended]()
    try:
        for name, stamped in stamps:
            row = known.get(name)
            one = _parsed(parse, row) if row is not None and row.stamp == stamped else None
            if one is None:
                one = read(name)
                told = None if one is None or stamped is None else facts(one)
                if stamped is not None and told is not None:
                    fresh.append(Ended(name, stamped, told))
            if one is not None:
                found[name] = one
    finally:  # Ctrl-C, too, keeps what was read
        gone = _gone(place, known.keys() - found.keys())
        if fresh or gone:
            keep(place, fresh, gone, what=what)
    return found


def _parsed(parse: Callable[[Ended], _Kept], row: Ended) -> _Kept | None:
    """What a row says. None if it can't be read."""
    try:
        return parse(row)
    except (ValueError, TypeError, LookupError, UsageError):
        return None


def _gone(place: Path, names: Collection[str]) -> list[str]:
    """Those that are no longer in the folder. None of them if it can't be looked into."""
    if not names:
        return []
    try:
        there = set(os.listdir(place))  # noqa: PTH208 - a Path for each is slow
    except OSError:
        return []
    return [name for name in names if name.partition("/")[0] not in there]


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
