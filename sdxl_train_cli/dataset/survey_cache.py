"""What files showed when they were last looked at, so that a second look is at once.

A cache and no more: it may be deleted, a broken one is made anew, one that can't be written is done without, and two
commands may use it at the same time.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Lock

NAME = "looked-at-1.sqlite"
"""The number is of what is kept, and grows when that changes."""
MOST = 50_000
"""Pictures that are remembered, and captions as many; those not met for the longest time are forgotten, none of today.

Else a dataset that is larger would be looked at anew each time.
"""
_SECONDS_TO_WAIT = 2.0
"""For another command to end its writing: a cache is not worth more."""
_AT_ONCE = 500
"""Files that one question asks for: SQLite takes no more than 999."""
_DAY = 86_400
_TABLE = """
CREATE TABLE IF NOT EXISTS files
    (path BLOB PRIMARY KEY, stamp TEXT NOT NULL, content TEXT NOT NULL, facts TEXT NOT NULL, day INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_content ON files (content) WHERE content != '';
DROP INDEX IF EXISTS by_day
"""
_OF_A_PICTURE, _OF_A_CAPTION = "content != ''", "content = ''"
"""A question that does not say so word for word is answered without the index, by reading all."""
BY_CONTENT = f"SELECT facts FROM files WHERE content = ? AND {_OF_A_PICTURE} LIMIT 1"  # noqa: S608 - our own words
_COUNT = "SELECT count(*) FROM files WHERE {which}"
_FORGET = """
DELETE FROM files WHERE path IN
    (SELECT path FROM files WHERE {which} AND day != :today ORDER BY day LIMIT :more)
"""

Kept = tuple[str, str]
"""The stamp of the file when it was looked at, and what it showed."""
Entry = tuple[Path, str, str, str]
"""File, stamp, SHA-256 of its content (or nothing), and what it showed."""


class SurveyCache:
    """What is kept in one file of a folder. No method raises for the file's sake; threads may share it."""

    def __init__(self, folder: Path, most: int = MOST) -> None:
        self._file, self._most, self._today = folder / NAME, most, int(time.time() // _DAY)
        self._lock = Lock()
        self._has_grown = False
        self._connection: sqlite3.Connection | None = None
        with self._guarded():
            folder.mkdir(parents=True, exist_ok=True)
            self._connection = self._connected()

    def close(self) -> None:
        """Forget what was not met for long, and let go of the file."""
        with self._guarded() as database:
            if database is not None and self._has_grown:
                with database:
                    for which in (_OF_A_PICTURE, _OF_A_CAPTION):
                        ((count,),) = database.execute(_COUNT.format(which=which))
                        if count > self._most:
                            wanted = {"today": self._today, "more": count - self._most}
                            database.execute(_FORGET.format(which=which), wanted)
        self._drop()

    def of(self, files: Sequence[Path]) -> Mapping[Path, Kept]:
        """All that is kept of these files."""
        found: dict[Path, Kept] = {}
        with self._guarded() as database:
            old = list[tuple[int, bytes]]()
            for start in range(0, len(files) if database is not None else 0, _AT_ONCE):
                keys = {os.fsencode(file): file for file in files[start : start + _AT_ONCE]}
                question = f"SELECT path, stamp, facts, day FROM files WHERE path IN ({','.join('?' * len(keys))})"  # noqa: S608 - question marks
                for path, stamp, facts, day in database.execute(question, list(keys)) if database is not None else ():
                    found[keys[path]] = stamp, facts
                    old += [(self._today, path)] if day != self._today else []
            if old and database is not None:
                with database:
                    database.executemany("UPDATE files SET day = ? WHERE path = ?", old)
        return found

    def with_content(self, sha256: str) -> str | None:
        """What a file of this content showed, whatever its name and place were."""
        with self._guarded() as database:
            if database is not None:
                row = database.execute(BY_CONTENT, (sha256,)).fetchone()
                return None if row is None else str(row[0])
        return None

    def keep(self, entries: Iterable[Entry]) -> None:
        """Write entries, all at once: a command that is stopped later has them."""
        rows = [(os.fsencode(path), stamp, content, facts, self._today) for path, stamp, content, facts in entries]
        with self._guarded() as database:
            if rows and database is not None:
                self._has_grown = True
                with database:
                    database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", rows)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[sqlite3.Connection | None]:
        """One thread at a time; a broken file goes, and with a file that can't be used we do without."""
        with self._lock:
            try:
                yield self._connection
            except (sqlite3.OperationalError, sqlite3.ProgrammingError, OSError, UnicodeError):
                self._drop()
            except sqlite3.Error:
                self._drop()
                with contextlib.suppress(sqlite3.Error, OSError):
                    self._file.unlink()
                    self._connection = self._connected()

    def _connected(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._file, timeout=_SECONDS_TO_WAIT, check_same_thread=False)
        try:
            database.execute("PRAGMA synchronous = OFF")  # a power cut may break it: it is made anew then
            database.executescript(_TABLE)
        except BaseException:
            database.close()
            raise
        return database

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
