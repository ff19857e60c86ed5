"""Cache of inspected files, so that a second survey is instant.

It is only a cache: it may be deleted, a broken one is replaced, an unwritable one is skipped, and two commands may use
it at the same time.
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
"""File name. The number is the format version and grows with every change of format."""
MOST = 50_000
"""Number of pictures to remember, and of captions. The least recently used are forgotten, but none of today's.

Otherwise a larger dataset would be inspected anew every time.
"""
_SECONDS_TO_WAIT = 2.0
"""How long to wait for another command to finish writing. A cache is not worth more."""
_AT_ONCE = 500
"""Files per query. SQLite allows 999 parameters."""
_DAY = 86_400
_TABLE = """
CREATE TABLE IF NOT EXISTS files
    (path BLOB PRIMARY KEY, stamp TEXT NOT NULL, content TEXT NOT NULL, facts TEXT NOT NULL, day INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_content ON files (content) WHERE content != '';
DROP INDEX IF EXISTS by_day
"""
_OF_A_PICTURE, _OF_A_CAPTION = "content != ''", "content = ''"
"""Queries must match the index expression word for word, or SQLite reads the whole table."""
BY_CONTENT = f"SELECT facts FROM files WHERE content = ? AND {_OF_A_PICTURE} LIMIT 1"  # noqa: S608 - our own constants
_COUNT = "SELECT count(*) FROM files WHERE {which}"
_FORGET = """
DELETE FROM files WHERE path IN
    (SELECT path FROM files WHERE {which} AND day != :today ORDER BY day LIMIT :more)
"""

Kept = tuple[str, str]
"""The file's stamp when it was inspected, and its facts."""
Entry = tuple[Path, str, str, str]
"""File, stamp, SHA-256 of its content (or empty), and its facts."""


class SurveyCache:
    """Facts stored in one database file. Methods never raise because of the file, and are thread-safe."""

    def __init__(self, folder: Path, most: int = MOST) -> None:
        self._file, self._most, self._today = folder / NAME, most, int(time.time() // _DAY)
        self._lock = Lock()
        self._has_grown = False
        self._connection: sqlite3.Connection | None = None
        with self._guarded():
            folder.mkdir(parents=True, exist_ok=True)
            self._connection = self._connected()

    def close(self) -> None:
        """Forget entries that are long unused, and close the file."""
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
        """Cached facts of these files."""
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
        """Facts of any file with this content, whatever its name."""
        with self._guarded() as database:
            if database is not None:
                row = database.execute(BY_CONTENT, (sha256,)).fetchone()
                return None if row is None else str(row[0])
        return None

    def keep(self, entries: Iterable[Entry]) -> None:
        """Write entries at once, so that they survive an interruption."""
        rows = [(os.fsencode(path), stamp, content, facts, self._today) for path, stamp, content, facts in entries]
        with self._guarded() as database:
            if rows and database is not None:
                self._has_grown = True
                with database:
                    database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", rows)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[sqlite3.Connection | None]:
        """Lock and yield the connection. A broken file is deleted; an unusable one yields None."""
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
            database.execute("PRAGMA synchronous = OFF")  # a power cut may corrupt it; it is then recreated
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
