"""The worker's look at the queue, without a process: what others do at the same time does not stop it."""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from kept_runs import keep

from sdxl_train_cli import gpu, process
from sdxl_train_cli.commands.queue import listing, running, working
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.jobs import starting
from sdxl_train_cli.jobs.job import Job, JobState, Waiting
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.jobs.worker import Worker, WorkerOptions
from sdxl_train_cli.process import Detached
from sdxl_train_cli.records import history, run_owner
from sdxl_train_cli.records.history import RunState

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import simulate_queue

CARD = Gpu(0, "a GPU", 24.0, 23.5, (8, 9), "550")


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Queue:
    """Three jobs on a machine with one GPU."""
    monkeypatch.setattr(gpu, "devices", lambda: (CARD,))
    queue = Queue(tmp_path / "queue")
    queue.add_all(Waiting(name, "lora", "dim32", "{}", need_gib=9.0) for name in "abc")
    return queue


def worker_of(queue: Queue) -> Worker:
    return Worker(queue, WorkerOptions(), lambda _job: [], lambda _line: None)


def claimed(queue: Queue, number: int) -> Job:
    job = queue.claim(number, [0])
    assert job is not None
    queue.job_folder(number).mkdir(parents=True)
    return job


def test_a_job_taken_out_a_moment_after_its_end_does_not_stop_the_worker(queue: Queue) -> None:
    worker, job = worker_of(queue), claimed(queue, 1)
    worker._children[1] = cast("Detached", SimpleNamespace(poll=lambda: 0))  # noqa: SLF001 - a process that has ended
    queue.end(job, JobState.DONE, 0)
    assert queue.remove(1)

    assert worker._look_after() == []  # noqa: SLF001 - one look


def test_a_gpu_that_is_not_there_is_refused_before_a_job_starts(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "devices", lambda: (CARD,))
    worker = Worker(queue, WorkerOptions(devices=(0, 9)), lambda _job: [], lambda _line: None)

    with pytest.raises(UsageError, match="no GPU 9"):
        worker.work()

    assert queue.require(1).state is JobState.WAITING


def test_a_job_of_another_worker_is_asked_to_stop_once_its_process_is_noted(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids, asked = iter([None, 4242, 4242]), list[int]()
    monkeypatch.setattr(run_owner, "process_of", lambda _folder: next(pids))
    monkeypatch.setattr(process, "ask_to_end", asked.append)
    worker, job = worker_of(queue), claimed(queue, 1)

    for _ in range(3):
        worker._signal(job)  # noqa: SLF001 - one look

    assert asked == [4242]


def test_a_job_that_was_cut_off_is_told_to_resume_only_from_a_state(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, told = iter([0, 500]), list[str]()
    monkeypatch.setattr(starting, "steps_of", lambda _job: next(saved))
    worker = Worker(queue, WorkerOptions(), lambda _job: [], told.append)
    for number in (1, 2):
        claimed(queue, number)

    worker._look_after()  # noqa: SLF001 - one look

    assert told == [
        "job 1 (a) was cut off and will start anew: it had saved no state",
        "job 2 (b) was cut off and will be resumed from step 500",
    ]
    assert [listing._step(job) for job in queue.jobs()] == ["", "500", ""]  # noqa: SLF001 - a cell of the list


def test_a_living_job_is_not_started_again_on_a_drive_without_locks(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_handle: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(run_owner, "lock_now", refuse)
    monkeypatch.setattr(run_owner, "look_now", refuse)
    claimed(queue, 1)
    folder = queue.job_folder(1)

    with run_owner.hold(folder) as lock, run_owner.read_noted(folder, lock):
        assert [job.id for job in worker_of(queue)._look_after()] == [1]  # noqa: SLF001 - one look
    assert worker_of(queue)._look_after() == []  # noqa: SLF001 - as above
    assert [job.state for job in queue.jobs()] == [JobState.WAITING] * 3


def test_what_waits_is_not_read_while_no_gpu_is_free(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    job = claimed(queue, 1)

    def fail(*_arguments: object) -> None:
        pytest.fail("it was read")

    monkeypatch.setattr(Queue, "waiting_for", fail)

    assert worker_of(queue)._start_what_fits([job])  # noqa: SLF001 - one look


def test_a_job_that_can_never_start_is_told_of_once_and_does_not_hold_the_worker(
    queue: Queue, capsys: pytest.CaptureFixture[str]
) -> None:
    told = list[str]()
    worker = Worker(queue, WorkerOptions(), lambda _job: [], told.append)
    for number in (1, 2, 3):
        queue.remove(number)
    queue.add_all(
        [Waiting("two", "lora", "dim32", "{}", gpus=2), Waiting("far", "lora", "dim32", "{}", gpu_indices=(3,))]
    )

    worker.work()

    assert told == [
        "job 4 (two) can't start here: it needs 2 GPUs, and this computer has GPU 0",
        "job 5 (far) can't start here: it is for GPU 3, and this computer has GPU 0",
    ]
    assert [job.state for job in queue.jobs()] == [JobState.WAITING] * 2
    capsys.readouterr()
    working._tell_end(queue, set(), worker)  # noqa: SLF001 - what `queue start` says at its end
    assert capsys.readouterr().err.splitlines() == [
        "2 left: no job has ended",
        "  job 4 (two) waits: it needs 2 GPUs, and this computer has GPU 0",
        "  job 5 (far) waits: it is for GPU 3, and this computer has GPU 0",
    ]


def test_the_list_shows_the_gpus_of_a_job(queue: Queue) -> None:
    queue.add_all(
        [
            Waiting("two", "lora", "dim32", "{}", gpus=2),
            Waiting("own", "lora", "dim32", "{}", gpus=2, gpu_indices=(1, 3)),
        ]
    )
    queue.claim(1, [0])
    queue.claim(4, [2, 4])

    places = [listing._place(job) for job in queue.jobs()]  # noqa: SLF001 - a cell of the list
    facts = [listing._facts(job) for job in queue.jobs()]  # noqa: SLF001 - of --json

    assert places == ["0", "", "", "2,4", "1,3"]
    assert [(each["gpu"], each["gpus"], each["gpu_indices"]) for each in facts] == [
        (0, 1, (0,)), (None, 1, ()), (None, 1, ()), (None, 2, (2, 4)), (None, 2, (1, 3)),
    ]  # fmt: skip
    assert queue.put_back(queue.require(4), 0, is_cut_off=True)
    assert listing._place(queue.require(4)) == "any 2"  # noqa: SLF001 - as above


def test_a_job_of_two_gpus_run_by_hand_takes_two(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "devices", lambda: tuple(replace(CARD, index=index) for index in range(3)))
    two = replace(queue.require(1), gpus=2)

    assert running._devices(two, ()) == (0, 1)  # noqa: SLF001 - what is noted before the run starts
    assert running._devices(replace(two, gpu_indices=(0, 2)), ()) == (0, 2)  # noqa: SLF001 - as above
    assert running._devices(two, (1, 2)) == (1, 2)  # noqa: SLF001 - as above
    with pytest.raises(UsageError, match=r"job 1 \(a\) needs 2 GPUs, and --gpu names 1"):
        running._devices(two, (1,))  # noqa: SLF001 - as above
    with pytest.raises(UsageError, match="no GPUs 1,7"):
        running._devices(two, (1, 7))  # noqa: SLF001 - as above


def test_a_simulated_queue_is_worked_off_in_order_with_failures_and_resumed_jobs(tmp_path: Path) -> None:
    figures = simulate_queue.simulate(tmp_path / "queue", 24, 3)  # exits where a job is lost, or started out of order

    assert (figures["jobs"], figures["cards"]) == (24, 3)


def test_a_job_run_by_hand_notes_the_gpu_that_it_takes(queue: Queue) -> None:
    any_gpu = queue.require(1)

    assert running._devices(any_gpu, ()) == (CARD.index,)  # noqa: SLF001 - what is noted before the run starts
    assert running._devices(replace(any_gpu, gpu_indices=(3,)), ()) == (3,)  # noqa: SLF001 - as above
    assert running._devices(replace(any_gpu, gpu_indices=(3,)), (5,)) == (5,)  # noqa: SLF001 - as above


def test_a_job_whose_trainer_was_left_behind_waits_for_it_and_is_not_started_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = keep(tmp_path / "cat", None)
    entry = history.load(folder)
    with run_owner.hold(folder):
        monkeypatch.setattr(starting, "_TRAINER_END_SECONDS", 0.0)
        with pytest.raises(UsageError, match="cat is running"):
            starting.after_its_trainer(history.load(folder))  # before a job's run is resumed

    assert starting.after_its_trainer(entry).state is RunState.INTERRUPTED
