"""The queue on disk: an SQLite database, so that a kill or a power cut at any moment leaves each job whole.

Every change is one transaction. `starts` of a job is its claim: each start counts it up, and a process whose number is
no longer the job's changes nothing, however late it comes.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from pathlib import Path

from sdxl_train_cli import formatting
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.jobs import placing
from sdxl_train_cli.jobs.job import Job, JobState, Waiting

_VERSION = 2
_MOST_DIGITS = 18
"""SQLite's numbers have 64 bits."""
_BUSY_SECONDS = 30.0
"""How long a change waits for another terminal's."""
# The record stands last: it is long, and SQLite reads a row only as far as the columns that are asked for.
_JOBS = """
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER NOT NULL, state TEXT NOT NULL, token TEXT NOT NULL,
    name TEXT NOT NULL, kind TEXT NOT NULL, preset TEXT NOT NULL,
    gpus INTEGER NOT NULL DEFAULT 1, gpu_indices TEXT NOT NULL DEFAULT '', need_gib REAL,
    starts INTEGER NOT NULL DEFAULT 0, cut_offs INTEGER NOT NULL DEFAULT 0, devices TEXT NOT NULL DEFAULT '',
    folder TEXT, steps INTEGER NOT NULL DEFAULT 0,
    added TEXT NOT NULL, started TEXT, ended TEXT, exit_code INTEGER, cause TEXT, is_to_stop INTEGER NOT NULL DEFAULT 0,
    more TEXT NOT NULL, record TEXT NOT NULL
);
CREATE INDEX jobs_by_state ON jobs (state, position);
"""
_SCHEMA = f"{_JOBS} CREATE TABLE wishes (name TEXT PRIMARY KEY);"
_AS_BEFORE = """id, position, state, token, name, kind, preset, need_gib, starts, cut_offs, folder, steps, added,
    started, ended, exit_code, cause, is_to_stop, more, record"""
# Version 1 knew jobs of one GPU alone. The sequence is kept: the number of a job that was removed never comes again.
_FROM_1 = f"""
DROP INDEX jobs_by_state;
ALTER TABLE jobs RENAME TO jobs_before;
{_JOBS}
INSERT INTO sqlite_sequence (name, seq) SELECT 'jobs', seq FROM sqlite_sequence WHERE name = 'jobs_before';
INSERT INTO jobs ({_AS_BEFORE}, gpu_indices, devices)
    SELECT {_AS_BEFORE}, coalesce(gpu_index, ''), coalesce(device, '') FROM jobs_before;
DROP TABLE jobs_before;
"""
_FIELDS = tuple(field.name for field in fields(Job))
_TURN = "UPDATE jobs SET state = ? WHERE id = ? AND state = ?"
_DATES = ("added", "started", "ended")
_INDICES = ("gpu_indices", "devices")
_END = "end"


@dataclass(frozen=True)
class Kept:
    """What a start of a job needs beside the job."""

    record: str
    """JSON, as `Waiting` had it."""
    guards_off: tuple[str, ...]
    step_downs: int


class Queue:
    """The queue in a folder. Methods raise UsageError where its database can't be read or written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def database(self) -> Path:
        """The file."""
        return self.folder / "queue.db"

    def job_folder(self, number: int) -> Path:
        """A job's lock and its output."""
        return self.folder / "jobs" / str(number)

    def log(self, number: int) -> Path:
        """All that a job's starts have printed."""
        return self.job_folder(number) / "output.log"

    @property
    def worker_folder(self) -> Path:
        """The worker's lock."""
        return self.folder / "worker"

    def add(self, waiting: Waiting) -> Job:
        """Put a job at the end."""
        (job,) = self.add_all([waiting])
        return job

    def add_all(self, waiting: Iterable[Waiting]) -> list[Job]:
        """Put jobs at the end in this order: all of them or none."""
        with self._changed() as database:
            (last,) = database.execute("SELECT coalesce(max(position), 0) FROM jobs").fetchone()
            numbers = [_insert(database, each, position) for position, each in enumerate(waiting, last + 1)]
            return [job for number in numbers if (job := _one(database, number)) is not None]

    def with_tokens(self, tokens: Sequence[str]) -> dict[str, Job]:
        """The jobs with these tokens, as far as they are there."""
        wanted = set(tokens)
        return {job.token: job for job in self.jobs() if job.token in wanted}

    def jobs(self, *states: JobState) -> list[Job]:
        """Jobs in the order in which they start; all, or those in these states."""
        if not self.database.exists():
            return []
        wanted = [state.value for state in states or JobState]
        marks = ", ".join("?" * len(wanted))
        with self._opened() as database:
            rows = database.execute(
                f"SELECT {', '.join(_FIELDS)} FROM jobs WHERE state IN ({marks}) ORDER BY position", wanted
            ).fetchall()
            return [_job(row) for row in rows]

    def waiting_for(self, devices: Sequence[Gpu | None], largest_gib: float) -> Generator[Job]:
        """Waiting jobs in their order, read as they are asked for, without those of one GPU that can't start on these.

        `largest_gib` is what the largest GPU of all has: a job that fits there waits for it. Close the generator: until
        then the database is open.
        """
        indices = [str(device.index) for device in devices if device is not None]
        query = f"SELECT {', '.join(_FIELDS)} FROM jobs WHERE state = ?"
        facts: list[object] = [JobState.WAITING.value]
        if len(indices) == len(devices):
            query += f" AND (gpus > 1 OR gpu_indices IN ({', '.join('?' * len(indices))})"
            query += " OR gpu_indices = '' AND (need_gib IS NULL OR need_gib <= ? OR need_gib > ?))"
            facts += [*indices, max(device.idle.free_gib for device in devices if device is not None), largest_gib]
        with self._opened() as database:
            yield from map(_job, database.execute(f"{query} ORDER BY position", facts))

    def has_waiting(self, devices: Sequence[Gpu | None] | None = None) -> bool:
        """Whether a job waits; with `devices`, one that may ever start on them."""
        if not self.database.exists():
            return False
        with self._opened() as database:
            rows = database.execute("SELECT gpus, gpu_indices FROM jobs WHERE state = ?", (JobState.WAITING.value,))
            return any(
                devices is None or placing.is_possible(row["gpus"], _numbers(row["gpu_indices"]), devices)
                for row in rows
            )

    def restricted(self) -> list[Job]:
        """Waiting jobs that need several GPUs, or name theirs, in their order."""
        if not self.database.exists():
            return []
        query = f"SELECT {', '.join(_FIELDS)} FROM jobs WHERE state = ? AND (gpus > 1 OR gpu_indices != '')"
        with self._opened() as database:
            rows = database.execute(f"{query} ORDER BY position", (JobState.WAITING.value,)).fetchall()
            return [_job(row) for row in rows]

    def get(self, number: int) -> Job | None:
        """The job with this number. None if there is none."""
        if not self.database.exists():
            return None
        with self._opened() as database:
            return _one(database, number)

    def require(self, number: int) -> Job:
        """The job with this number. UsageError if there is none."""
        found = self.get(number)
        if found is None:
            raise UsageError(f"no job {number} in the queue", "`sdxl-train queue list --all` shows every job")
        return found

    def find(self, text: str) -> Job:
        """The job with this number or name. UsageError if there is none, or more than one."""
        if text.isdecimal() and len(text) < _MOST_DIGITS:
            return self.require(int(text))
        named = [job for job in self.jobs() if text in {job.name, job.run_name}]
        if len(named) == 1:
            return named[0]
        if named:
            numbers = ", ".join(str(job.id) for job in named)
            raise UsageError(f"{len(named)} jobs are called '{formatting.cut(text)}'", f"give a number: {numbers}")
        raise UsageError(
            f"no job '{formatting.cut(text)}' in the queue", "`sdxl-train queue list --all` shows every job"
        )

    def kept(self, number: int) -> Kept:
        """What a start of the job needs."""
        with self._opened() as database:
            row = database.execute("SELECT record, more FROM jobs WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise UsageError(f"job {number} is gone", "`sdxl-train queue list` shows what there is")
        more = json.loads(row["more"])
        return Kept(row["record"], tuple(more["guards_off"]), int(more["step_downs"]))

    def claim(self, number: int, devices: Sequence[int]) -> Job | None:
        """Take a waiting job for a start on these GPUs. None if it no longer waits."""
        with self._changed() as database:
            done = database.execute(
                "UPDATE jobs SET state = ?, devices = ?, starts = starts + 1, started = ?, ended = NULL,"
                " exit_code = NULL, cause = NULL, is_to_stop = 0 WHERE id = ? AND state = ?",
                (JobState.RUNNING.value, _text(devices), _now(), number, JobState.WAITING.value),
            )
            return _one(database, number) if done.rowcount else None

    def note_folder(self, job: Job, folder: Path) -> bool:
        """Note where the run of this start will be. False if another start has taken the job since."""
        return self._of_start(job, "folder = ?", str(folder))

    def end(self, job: Job, state: JobState, exit_code: int, cause: str | None = None) -> bool:
        """Note how this start ended. False if another start has taken the job since."""
        facts = (state.value, exit_code, cause, _now())
        return self._of_start(job, "state = ?, exit_code = ?, cause = ?, ended = ?, cut_offs = 0", *facts)

    def put_back(self, job: Job, steps: int, *, is_cut_off: bool) -> bool:
        """Let an interrupted job wait again at its place. False if another start has taken it since.

        `steps` is how far its run has come.
        """
        cut_offs = 0 if not is_cut_off else 1 if steps > job.steps else job.cut_offs + 1
        facts = (JobState.WAITING.value, cut_offs, max(steps, job.steps))
        return self._of_start(job, "state = ?, cut_offs = ?, steps = ?", *facts)

    def retry(self, number: int) -> bool:
        """Let a job that failed or was stopped wait again at its place. False if it is in another state."""
        with self._changed() as database:
            ended = (JobState.FAILED.value, JobState.STOPPED.value)
            done = database.execute(
                "UPDATE jobs SET state = ?, cut_offs = 0, is_to_stop = 0, ended = NULL, exit_code = NULL, cause = NULL"
                " WHERE id = ? AND state IN (?, ?)",
                (JobState.WAITING.value, number, *ended),
            )
            return bool(done.rowcount)

    def move(self, number: int, place: int) -> bool:
        """Put a waiting job at this place among those that wait, from 0. False if it does not wait."""
        with self._changed() as database:
            rows = database.execute(
                "SELECT id, position FROM jobs WHERE state = ? ORDER BY position", (JobState.WAITING.value,)
            ).fetchall()
            order = [row["id"] for row in rows]
            if number not in order:
                return False
            order.remove(number)
            order.insert(place, number)
            moved = zip((row["position"] for row in rows), order, strict=True)
            database.executemany("UPDATE jobs SET position = ? WHERE id = ?", list(moved))
        return True

    def remove(self, number: int) -> bool:
        """Forget a job that is neither running nor handed over. False if it is."""
        with self._changed() as database:
            busy = (JobState.RUNNING.value, JobState.HANDING_OVER.value)
            done = database.execute("DELETE FROM jobs WHERE id = ? AND state NOT IN (?, ?)", (number, *busy))
            return bool(done.rowcount)

    def begin_hand_over(self, numbers: Iterable[int]) -> list[Job]:
        """Keep workers off waiting jobs. Those that no longer wait are left out."""
        wanted, handed, waiting = set(numbers), JobState.HANDING_OVER.value, JobState.WAITING.value
        with self._changed() as database:
            database.executemany(_TURN, [(handed, each, waiting) for each in wanted])
            query = f"SELECT {', '.join(_FIELDS)} FROM jobs WHERE state = ? ORDER BY position"
            rows = database.execute(query, (handed,)).fetchall()
            return [job for job in map(_job, rows) if job.id in wanted]

    def end_hand_over(self, taken: Iterable[int], kept: Iterable[int]) -> None:
        """Forget the jobs that a cluster has taken, and let the others wait again."""
        handed, waiting = JobState.HANDING_OVER.value, JobState.WAITING.value
        with self._changed() as database:
            database.executemany("DELETE FROM jobs WHERE id = ? AND state = ?", [(each, handed) for each in taken])
            database.executemany(_TURN, [(waiting, each, handed) for each in kept])

    def ask_to_stop(self, number: int) -> bool:
        """Ask the worker to stop a running job, and stop a waiting one. False if it has ended."""
        with self._changed() as database:
            row = _one(database, number)
            if row is None or row.state.has_ended or row.state is JobState.HANDING_OVER:
                return False
            change = "is_to_stop = 1" if row.state is JobState.RUNNING else f"state = '{JobState.STOPPED.value}'"
            database.execute(f"UPDATE jobs SET {change} WHERE id = ?", (number,))
        return True

    def ask_to_end(self, *, wanted: bool) -> None:
        """Ask the worker to end, or take that back."""
        with self._changed() as database:
            if wanted:
                database.execute("INSERT OR IGNORE INTO wishes (name) VALUES (?)", (_END,))
            else:
                database.execute("DELETE FROM wishes WHERE name = ?", (_END,))

    @property
    def is_to_end(self) -> bool:
        """Whether the worker was asked to end."""
        with self._opened() as database:
            return database.execute("SELECT 1 FROM wishes WHERE name = ?", (_END,)).fetchone() is not None

    def _of_start(self, job: Job, change: str, *facts: object) -> bool:
        with self._changed() as database:
            done = database.execute(
                f"UPDATE jobs SET {change} WHERE id = ? AND starts = ? AND state = ?",
                (*facts, job.id, job.starts, JobState.RUNNING.value),
            )
            return bool(done.rowcount)

    @contextlib.contextmanager
    def _changed(self) -> Iterator[sqlite3.Connection]:
        """One transaction, which is on disk when the block ends. Creates the database."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{self.folder} can't be made: {error.strerror}", "check its permissions") from error
        with self._opened() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                if database.in_transaction:  # on a full disk SQLite has rolled back already
                    database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(sqlite3.connect(self.database, timeout=_BUSY_SECONDS)) as database:
                database.isolation_level = None  # transactions are written out
                database.row_factory = sqlite3.Row
                self._prepare(database)
                yield database
        except sqlite3.Error as error:
            shown = formatting.shell_word(self.database)
            raise UsageError(
                f"the queue {shown} can't be used: {error}",
                "check the disk's space and the file's permissions; if the file is damaged, move it away: "
                "runs and their files are elsewhere",
            ) from error

    def _prepare(self, database: sqlite3.Connection) -> None:
        """Create the tables, or carry an older version's over. UsageError if a newer sdxl-train has made them."""
        version = _version(database)
        if version == 0:
            database.execute("PRAGMA journal_mode = WAL")
        if version < _VERSION:
            database.execute("BEGIN IMMEDIATE")  # closing the database takes back what is not committed
            version = _version(database)  # another terminal may have been faster
            if version < _VERSION:
                for statement in filter(str.strip, (_FROM_1 if version else _SCHEMA).split(";")):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {_VERSION}")
            database.execute("COMMIT")
        if version > _VERSION:
            raise UsageError(f"a newer sdxl-train has made {self.database}", "use that version of sdxl-train")
        database.execute("PRAGMA synchronous = FULL")  # a claim must survive a power cut


def _insert(database: sqlite3.Connection, waiting: Waiting, position: int) -> int:
    """Add a row. Returns the job's number."""
    row = {
        "position": position, "state": JobState.WAITING.value, "token": waiting.token, "name": waiting.name,
        "kind": waiting.kind, "preset": waiting.preset, "record": waiting.record,
        "more": json.dumps({"guards_off": waiting.guards_off, "step_downs": waiting.step_downs}),
        "gpus": waiting.gpus, "gpu_indices": _text(waiting.gpu_indices), "need_gib": waiting.need_gib, "added": _now(),
    }  # fmt: skip
    marks = ", ".join(f":{name}" for name in row)
    done = database.execute(f"INSERT INTO jobs ({', '.join(row)}) VALUES ({marks})", row)
    return int(done.lastrowid or 0)


def _one(database: sqlite3.Connection, number: int) -> Job | None:
    row = database.execute(f"SELECT {', '.join(_FIELDS)} FROM jobs WHERE id = ?", (number,)).fetchone()
    return None if row is None else _job(row)


def _job(row: sqlite3.Row) -> Job:
    facts = {name: row[name] for name in _FIELDS}
    try:
        facts |= {name: datetime.fromisoformat(facts[name]) for name in _DATES if facts[name] is not None}
        facts |= {"state": JobState(facts["state"]), "folder": None if row["folder"] is None else Path(row["folder"])}
        facts |= {name: _numbers(facts[name]) for name in _INDICES}
    except (ValueError, TypeError, AttributeError) as error:
        raise sqlite3.DataError(f"job {row['id']} can't be read") from error
    facts["is_to_stop"] = bool(facts["is_to_stop"])
    return Job(**facts)


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _text(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",") if number)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
