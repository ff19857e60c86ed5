"""The queue's database: each change is whole, and a start that is no longer the job's changes nothing."""

from __future__ import annotations

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
    first = queue.claim(job.id, 0)
    assert first is not None
    assert queue.claim(job.id, 1) is None
    assert queue.put_back(first, 10, is_cut_off=True)
    second = queue.claim(job.id, 1)
    assert second is not None

    assert not queue.end(first, JobState.DONE, 0)
    assert not queue.note_folder(first, Path("run"))
    assert not queue.put_back(first, 20, is_cut_off=True)
    assert queue.end(second, JobState.DONE, 0)
    assert (queue.require(job.id).state, queue.require(job.id).device) == (JobState.DONE, 1)


def test_cut_offs_count_only_while_nothing_is_gained(queue: Queue) -> None:
    added(queue, "a")
    counts = []
    for steps in (0, 0, 5, 5, 6):
        started = queue.claim(1, None)
        assert started is not None
        queue.put_back(started, steps, is_cut_off=True)
        counts.append(queue.require(1).cut_offs)

    assert counts == [1, 2, 1, 2, 1]


def test_only_what_has_ended_badly_is_retried_and_only_what_does_not_run_removed(queue: Queue) -> None:
    added(queue, "a", "b")
    started = queue.claim(1, None)
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
        claims = list(pool.map(lambda index: Queue(queue.folder).claim(1, index), range(8)))

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
    needs = ((20.0, None), (5.0, 1), (None, None), (90.0, None), (11.0, 0), (3.0, None))
    queue.add_all(Waiting("a", "lora", "dim32", "{}", need_gib=need, gpu_index=on) for need, on in needs)
    read, job_of = list[int](), store._job  # noqa: SLF001 - counts the rows that are read
    monkeypatch.setattr(store, "_job", lambda row: read.append(row["id"]) or job_of(row))

    with closing(queue.waiting_for([small], 23.5)) as waiting:
        assert next(waiting).id == 3  # the first waits for the large one, the second is for it
        assert read == [3]
        assert [job.id for job in waiting] == [4, 5, 6]  # the fourth fits nowhere, and its check says so
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
