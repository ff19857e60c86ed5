"""Which job starts on which GPU."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.jobs import placing
from sdxl_train_cli.jobs.job import Job, JobState

_NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


def gpu(index: int, total_gib: float = 24.0, free_gib: float | None = None) -> Gpu:
    return Gpu(index, "a GPU", total_gib, total_gib - 0.5 if free_gib is None else free_gib, (8, 9), "550")


def job(number: int, need_gib: float | None = 8.0, on: int | None = None) -> Job:
    return Job(id=number, name=f"run{number}", kind="lora", preset="dim32", state=JobState.WAITING, position=number,
               token="", added=_NOW + timedelta(seconds=number), gpu_index=on, need_gib=need_gib)  # fmt: skip


def placed(
    waiting: list[Job], devices: list[Gpu | None], running: list[Job] | None = None, *, shares: bool = False
) -> list[tuple[int, int | None]]:
    found = placing.place(waiting, running or [], devices, shares=shares)
    return [(each.id, None if device is None else device.index) for each, device in found.starts]


def test_each_gpu_gets_one_job_in_the_queues_order() -> None:
    assert placed([job(1), job(2), job(3)], [gpu(0), gpu(1)]) == [(1, 0), (2, 1)]
    assert placed([job(2), job(3)], [gpu(0), gpu(1)], [replace(job(1), device=1)]) == [(2, 0)]
    assert placed([job(1), job(2)], [None]) == [(1, None)]


def test_a_job_that_needs_the_larger_gpu_waits_for_it_and_others_use_the_smaller() -> None:
    devices: list[Gpu | None] = [gpu(0, 8), gpu(1, 24)]

    assert placed([job(1, 20), job(2, 6)], devices) == [(1, 1), (2, 0)]
    assert placed([job(2, 20), job(3, 20), job(4, 6)], devices, [replace(job(1), device=1)]) == [(4, 0)]
    assert placed([job(1, 60)], devices) == [(1, 1)]  # fits nowhere: it is started, and its check says so


def test_a_job_for_one_gpu_waits_for_that_one_and_is_not_overtaken_there() -> None:
    running = [replace(job(1), device=0)]

    assert placed([job(2, on=0), job(3, on=1), job(4, on=0)], [gpu(0), gpu(1)], running) == [(3, 1)]


def test_jobs_share_a_gpu_only_where_asked_and_where_all_fit() -> None:
    running = [replace(job(1, 10), device=0)]

    assert placed([job(2, 10)], [gpu(0)], running) == []
    assert placed([job(2, 10), job(3, 10)], [gpu(0)], running, shares=True) == [(2, 0)]
    assert placed([job(2, 14), job(3, 1)], [gpu(0)], running, shares=True) == []  # the first is not overtaken
    assert placed([job(2, None)], [gpu(0)], running, shares=True) == []


def test_a_job_waits_while_other_programs_hold_the_memory_that_it_needs() -> None:
    found = placing.place([job(1, 20), job(2, 4)], [], [gpu(0, 24, free_gib=10)], shares=False)

    assert found.starts == ()
    assert [(each.id, device.index) for each, device in found.short_of_memory] == [(1, 0)]


def test_a_long_queue_on_many_gpus_keeps_every_gpu_busy_and_every_job_once() -> None:
    chance = random.Random(3)  # noqa: S311 - the same jobs each time
    devices: list[Gpu | None] = [gpu(index, chance.choice([12, 24, 80])) for index in range(64)]
    waiting = [job(number, chance.choice([5.0, 9.0, 20.0, 60.0, None])) for number in range(2000)]
    running: list[Job] = []
    order, most = list[int](), 0
    while waiting or running:
        starts = placing.place(waiting, running, devices, shares=False).starts
        order += [each.id for each, _ in starts]
        taken = {each.id for each, _ in starts}
        waiting = [each for each in waiting if each.id not in taken]
        running += [replace(each, device=device and device.index) for each, device in starts]
        assert len({each.device for each in running}) == len(running)
        most = max(most, len(running))
        chance.shuffle(running)
        running = running[len(running) // 3 + 1 :]

    assert sorted(order) == list(range(2000))
    assert most == 64
