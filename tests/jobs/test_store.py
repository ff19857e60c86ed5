"""The queue's database: each change is whole, and a start that is no longer the job's changes nothing."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.jobs import store
from sdxl_train_cli.jobs.job import Job, JobState, Waiting
from sdxl_train_cli.jobs.store import Queue


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path / "очередь")


def added(queue: Queue, *names: str) -> list[Job]:
    return [queue.add(Waiting(name, "lora", "dim32", "{}", guards_off=("nan",), step_downs=2)) for name in names]


def test_jobs_keep_their_order_and_what_they_start_with(queue: Queue) -> None:
    added(queue, "a", "b", "c", "d")

    assert queue.move(4, 0)
    assert queue.move(1, 99)
    assert [job.name for job in queue.jobs()] == ["d", "b", "c", "a"]
    kept = queue.kept(2)
    assert (kept.record, kept.guards_off, kept.step_downs) == ("{}", ("nan",), 2)


def test_a_late_start_changes_nothing(queue: Queue) -> None:
    (job,) = added(queue, "a")
    first = queue.claim(job.id, [0])
    assert first is not None
    assert queue.claim(job.id, [1]) is None
    assert queue.put_back(first, 10, is_cut_off=True)
    second = queue.claim(job.id, [1])
    assert second is not None

    assert not queue.end(first, JobState.DONE, 0)
    assert not queue.note_folder(first, Path("run"))
    assert not queue.put_back(first, 20, is_cut_off=True)
    assert queue.end(second, JobState.DONE, 0)
    assert (queue.require(job.id).state, queue.require(job.id).devices) == (JobState.DONE, (1,))


def test_cut_offs_count_only_while_nothing_is_gained(queue: Queue) -> None:
    added(queue, "a")
    counts = []
    for steps in (0, 0, 5, 5, 6):
        started = queue.claim(1, [])
        assert started is not None
        queue.put_back(started, steps, is_cut_off=True)
        counts.append(queue.require(1).cut_offs)

    assert counts == [1, 2, 1, 2, 1]


def test_only_what_has_ended_badly_is_retried_and_only_what_does_not_run_removed(queue: Queue) -> None:
    added(queue, "a", "b")
    started = queue.claim(1, [])
    assert started is not None
    assert (queue.retry(1), queue.remove(1), queue.retry(2)) == (False, False, False)
    assert queue.ask_to_stop(1)
    assert queue.ask_to_stop(2)
    assert (queue.require(1).is_to_stop, queue.require(2).state) == (True, JobState.STOPPED)
    queue.end(started, JobState.FAILED, 7, "no")
    assert not queue.ask_to_stop(1)

    assert (queue.retry(1), queue.retry(2), queue.remove(2)) == (True, True, True)
    assert [(job.id, job.state) for job in queue.jobs()] == [(1, JobState.WAITING)]


def test_one_of_many_gets_a_job(queue: Queue) -> None:
    added(queue, "a")
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda index: Queue(queue.folder).claim(1, [index]), range(8)))

    assert len([claim for claim in claims if claim is not None]) == 1


def test_a_damaged_or_newer_database_is_refused_in_words(queue: Queue) -> None:
    added(queue, "a")
    database = sqlite3.connect(queue.database)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(UsageError, match="newer sdxl-train"):
        queue.jobs()

    for path in queue.folder.glob("queue.db*"):
        path.unlink()
    queue.database.write_bytes(b"no database at all" * 100)
    with pytest.raises(UsageError, match="not a database") as raised:
        queue.jobs()
    assert "move it away" in str(raised.value.problems[0].hint)
    with pytest.raises(UsageError, match="no job 7"):
        Queue(queue.folder / "none").require(7)


def test_a_job_that_can_not_be_read_is_told_in_words(queue: Queue) -> None:
    added(queue, "a", "b")
    for change in ("UPDATE jobs SET devices = 'x' WHERE id = 2", "UPDATE jobs SET added = 'yesterday' WHERE id = 2"):
        with contextlib.closing(sqlite3.connect(queue.database)) as database, database:
            database.execute(change)

        for look in (queue.jobs, lambda: queue.get(2)):
            with pytest.raises(UsageError, match="job 2 can't be read"):
                look()
    assert queue.get(1) is not None


def test_a_job_is_found_by_its_number_or_its_only_name(queue: Queue) -> None:
    added(queue, "cat", "cat", "bird")

    assert (queue.find("2").id, queue.find("bird").id) == (2, 3)
    with pytest.raises(UsageError, match="2 jobs are called 'cat'") as raised:
        queue.find("cat")
    assert "1, 2" in str(raised.value.problems[0].hint)
    with pytest.raises(UsageError, match="no job 'dog'"):
        queue.find("dog")
    with pytest.raises(UsageError, match="no job"):
        queue.find("9" * 40)


def test_jobs_that_can_start_on_a_gpu_are_read_as_they_are_asked_for(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = (Gpu(index, "a GPU", size, size - 0.5, (8, 9), "550") for index, size in ((0, 12.0), (1, 24.0)))
    needs = ((20.0, ()), (5.0, (1,)), (None, ()), (90.0, ()), (20.0, (0,)), (3.0, ()))
    queue.add_all(Waiting("a", "lora", "dim32", "{}", need_gib=need, gpu_indices=on) for need, on in needs)
    read, job_of = list[int](), store._job  # noqa: SLF001 - counts the rows that are read
    monkeypatch.setattr(store, "_job", lambda row: read.append(row["id"]) or job_of(row))

    with closing(queue.waiting_for([small], 23.5)) as waiting:
        assert next(waiting).id == 3  # the first waits for the large one, the second is for it
        assert read == [3]
        assert [job.id for job in waiting] == [4, 5, 6]  # the fourth and the fifth don't fit, and their checks say so
    assert queue.has_waiting([small])
    assert [job.id for job in queue.waiting_for([None], 0.0)] == [1, 2, 3, 4, 5, 6]
    assert [job.id for job in queue.waiting_for([small, large], 23.5)] == [1, 2, 3, 4, 5, 6]
    for number in (3, 4, 5, 6, 1):
        assert queue.remove(number)
    assert not queue.has_waiting([small])


def test_all_jobs_are_added_or_none(queue: Queue) -> None:
    added(queue, "a")

    def broken() -> Iterator[Waiting]:
        yield Waiting("b", "lora", "dim32", "{}")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        queue.add_all(broken())

    assert [job.name for job in queue.jobs()] == ["a"]


def test_a_full_disk_is_named_and_loses_nothing(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    added(queue, "a")
    prepare = Queue._prepare  # noqa: SLF001 - each connection has its own limit

    def on_a_full_disk(self: Queue, database: sqlite3.Connection) -> None:
        prepare(self, database)
        database.execute("PRAGMA max_page_count = 1")  # no more than there are

    monkeypatch.setattr(Queue, "_prepare", on_a_full_disk)
    with pytest.raises(UsageError, match="full"):
        queue.add(Waiting("b", "lora", "dim32", "x" * 1_000_000))

    assert [job.name for job in queue.jobs()] == ["a"]


_BEFORE = """
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, position INTEGER NOT NULL, state TEXT NOT NULL, token TEXT NOT NULL,
    name TEXT NOT NULL, kind TEXT NOT NULL, preset TEXT NOT NULL,
    gpu_index INTEGER, need_gib REAL, starts INTEGER NOT NULL DEFAULT 0,
    cut_offs INTEGER NOT NULL DEFAULT 0, device INTEGER, folder TEXT, steps INTEGER NOT NULL DEFAULT 0,
    added TEXT NOT NULL, started TEXT, ended TEXT, exit_code INTEGER, cause TEXT, is_to_stop INTEGER NOT NULL DEFAULT 0,
    more TEXT NOT NULL, record TEXT NOT NULL
);
CREATE INDEX jobs_by_state ON jobs (state, position);
CREATE TABLE wishes (name TEXT PRIMARY KEY);
PRAGMA user_version = 1;
PRAGMA journal_mode = WAL;
INSERT INTO jobs (position, state, token, name, kind, preset, gpu_index, need_gib, starts, device, folder, steps, added,
                  started, more, record)
    VALUES (2, 'running', 't1', 'cat', 'lora', 'dim32', NULL, 9.5, 2, 0, 'кот', 40, '2026-01-01T00:00:00+00:00',
            '2026-01-02T00:00:00+00:00', '{"guards_off": ["nan"], "step_downs": 2}', '{"a": 1}'),
           (1, 'waiting', 't2', 'dog', 'lora', 'dim32', 3, NULL, 0, NULL, NULL, 0, '2026-01-01T00:00:00+00:00',
            NULL, '{"guards_off": [], "step_downs": 0}', '{}'),
           (3, 'waiting', 't3', 'gone', 'lora', 'dim32', 3, NULL, 0, NULL, NULL, 0, '2026-01-01T00:00:00+00:00',
            NULL, '{"guards_off": [], "step_downs": 0}', '{}');
DELETE FROM jobs WHERE name = 'gone';
"""
"""A queue as 0.1.0 has left it."""


@pytest.fixture
def before(queue: Queue) -> Queue:
    """A queue of jobs of one GPU, from before there were others."""
    queue.folder.mkdir()
    with closing(sqlite3.connect(queue.database)) as database:
        database.executescript(_BEFORE)
    return queue


def test_a_queue_from_before_jobs_of_several_gpus_is_carried_over_whole(before: Queue) -> None:
    dog, cat = before.jobs()

    assert (dog.name, dog.gpus, dog.gpu_indices, dog.devices, dog.need_gib) == ("dog", 1, (3,), (), None)
    assert (cat.id, cat.name, cat.gpus, cat.gpu_indices, cat.devices) == (1, "cat", 1, (), (0,))
    assert (cat.state, cat.starts, cat.steps, cat.need_gib) == (JobState.RUNNING, 2, 40, 9.5)
    assert (cat.folder, cat.token, cat.started is not None) == (Path("кот"), "t1", True)
    assert before.kept(1) == store.Kept('{"a": 1}', ("nan",), 2)
    assert before.end(cat, JobState.DONE, 0)
    assert added(before, "new")[0].id == 4  # the number of a job that was removed never comes again


def test_two_at_once_carry_a_queue_over_once(before: Queue) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _number: Queue(before.folder).jobs(), range(16)))

    assert {tuple(job.name for job in jobs) for jobs in found} == {("dog", "cat")}


def test_a_cut_off_while_a_queue_is_carried_over_changes_nothing(
    before: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = store._FROM_1  # noqa: SLF001 - the statements, of which it comes to some
    whole = text.split(";")
    for count in range(1, len(whole)):
        monkeypatch.setattr(store, "_FROM_1", ";".join([*whole[:count], " CUT OFF"]))
        with pytest.raises(UsageError, match="syntax error"):
            before.jobs()
        with closing(sqlite3.connect(before.database)) as database:
            assert database.execute("SELECT name, gpu_index, device FROM jobs").fetchall() == [
                ("cat", None, 0), ("dog", 3, None),
            ]  # fmt: skip

    monkeypatch.setattr(store, "_FROM_1", text)
    assert [job.name for job in before.jobs()] == ["dog", "cat"]


def test_a_job_of_several_gpus_is_kept_and_read_wherever_one_of_its_gpus_may_be(queue: Queue) -> None:
    small, large = (Gpu(index, "a GPU", size, size - 0.5, (8, 9), "550") for index, size in ((0, 12.0), (1, 24.0)))
    queue.add_all(
        [
            Waiting("a", "lora", "dim32", "{}", need_gib=20.0, gpus=2),
            Waiting("b", "lora", "dim32", "{}", gpus=2, gpu_indices=(1, 2)),
        ]
    )

    first = queue.claim(1, [0, 1])
    assert first is not None
    assert (first.gpus, first.devices, queue.require(2).gpu_indices) == (2, (0, 1), (1, 2))
    assert [job.id for job in queue.waiting_for([small], 23.5)] == [2]
    assert [job.id for job in queue.restricted()] == [2]
    assert (queue.has_waiting(), queue.has_waiting([small, large]), queue.has_waiting([None])) == (True, False, False)
