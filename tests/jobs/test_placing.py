"""Which job starts on which GPU."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.jobs import placing
from sdxl_train_cli.jobs.job import Job, JobState

_NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


def gpu(index: int, total_gib: float = 24.0, free_gib: float | None = None) -> Gpu:
    return Gpu(index, "a GPU", total_gib, total_gib - 0.5 if free_gib is None else free_gib, (8, 9), "550")


def job(number: int, need_gib: float | None = 8.0, on: tuple[int, ...] = (), gpus: int = 0) -> Job:
    return Job(id=number, name=f"run{number}", kind="lora", preset="dim32", state=JobState.WAITING, position=number,
               token="", added=_NOW + timedelta(seconds=number), gpus=gpus or len(on) or 1, gpu_indices=on,
               need_gib=need_gib)  # fmt: skip


def placed(
    waiting: list[Job], devices: list[Gpu | None], running: list[Job] | None = None, *, shares: bool = False
) -> list[tuple[int, ...]]:
    """Each job that starts, and the GPUs on which it does."""
    found = placing.place(waiting, running or [], devices, shares=shares)
    return [(each.id, *(device.index for device in chosen)) for each, chosen in found.starts]


def test_each_gpu_gets_one_job_in_the_queues_order() -> None:
    assert placed([job(1), job(2), job(3)], [gpu(0), gpu(1)]) == [(1, 0), (2, 1)]
    assert placed([job(2), job(3)], [gpu(0), gpu(1)], [replace(job(1), devices=(1,))]) == [(2, 0)]
    assert placed([job(1), job(2)], [None]) == [(1,)]


def test_a_job_that_needs_the_larger_gpu_waits_for_it_and_others_use_the_smaller() -> None:
    devices: list[Gpu | None] = [gpu(0, 8), gpu(1, 24)]

    assert placed([job(1, 20), job(2, 6)], devices) == [(1, 1), (2, 0)]
    assert placed([job(2, 20), job(3, 20), job(4, 6)], devices, [replace(job(1), devices=(1,))]) == [(4, 0)]
    assert placed([job(1, 60)], devices) == [(1, 1)]  # fits nowhere: it is started, and its check says so


def test_a_job_for_one_gpu_waits_for_that_one_and_is_not_overtaken_there() -> None:
    running = [replace(job(1), devices=(0,))]

    assert placed([job(2, on=(0,)), job(3, on=(1,)), job(4, on=(0,))], [gpu(0), gpu(1)], running) == [(3, 1)]


def test_jobs_share_a_gpu_only_where_asked_and_where_all_fit() -> None:
    running = [replace(job(1, 10), devices=(0,))]

    assert placed([job(2, 10)], [gpu(0)], running) == []
    assert placed([job(2, 10), job(3, 10)], [gpu(0)], running, shares=True) == [(2, 0)]
    assert placed([job(2, 14), job(3, 1)], [gpu(0)], running, shares=True) == []  # the first is not overtaken
    assert placed([job(2, None)], [gpu(0)], running, shares=True) == []


def test_a_job_waits_while_other_programs_hold_the_memory_that_it_needs() -> None:
    found = placing.place([job(1, 20), job(2, 4)], [], [gpu(0, 24, free_gib=10)], shares=False)

    assert found.starts == ()
    assert [(each.id, device.index) for each, device in found.short_of_memory] == [(1, 0)]


FOUR: list[Gpu | None] = [gpu(0), gpu(1), gpu(2), gpu(3)]


def test_a_job_of_several_gpus_starts_when_as_many_are_free() -> None:
    assert placed([job(1, gpus=2), job(2), job(3)], FOUR) == [(1, 0, 1), (2, 2), (3, 3)]
    assert placed([job(1, gpus=4)], FOUR) == [(1, 0, 1, 2, 3)]
    assert placed([job(1, on=(1, 3))], FOUR) == [(1, 1, 3)]
    assert placed([job(1, gpus=2)], [gpu(0, free_gib=20), gpu(1), gpu(2)]) == [(1, 1, 2)]  # the freest


def test_gpus_that_become_free_are_held_for_a_job_that_waits_for_several() -> None:
    running = [replace(job(1), devices=(0,)), replace(job(2), devices=(1, 2))]

    assert placed([job(3, gpus=2), job(4)], FOUR, running) == []
    assert placed([job(3, gpus=2), job(4)], FOUR, running[:1]) == [(3, 1, 2), (4, 3)]


def test_gpus_that_a_waiting_job_of_several_cannot_use_go_on() -> None:
    unlike: list[Gpu | None] = [gpu(0, 24), gpu(1, 24), gpu(2, 8), gpu(3, 8)]
    running = [replace(job(1), devices=(0,))]

    assert placed([job(2, 20, gpus=2), job(3, 6), job(4, 6)], unlike, running) == [(3, 2), (4, 3)]
    assert placed([job(2, on=(0, 1)), job(3, on=(1, 2)), job(4), job(5)], FOUR, running) == [(4, 3)]


def test_the_weakest_card_decides_what_fits_a_job_of_several() -> None:
    unlike: list[Gpu | None] = [gpu(0, 24), gpu(1, 8), gpu(2, 24)]

    assert placed([job(1, 20, gpus=2)], unlike) == [(1, 0, 2)]
    assert placed([job(1, 20, gpus=3)], unlike) == [(1, 0, 1, 2)]  # fits nowhere: it is started, and its check says so
    assert placed([job(1, 20, gpus=3), job(2)], unlike, [replace(job(3), devices=(1,))]) == []


def test_a_job_of_several_shares_only_where_each_card_has_the_memory() -> None:
    running = [replace(job(1, 10), devices=(0,)), replace(job(2, 16), devices=(1,))]
    two: list[Gpu | None] = [gpu(0), gpu(1)]

    assert placed([job(3, 7, gpus=2)], two, running, shares=True) == [(3, 0, 1)]
    assert placed([job(3, 8, gpus=2), job(4, 1)], two, running, shares=True) == []
    assert placed([job(3, None, gpus=2)], two, running, shares=True) == []
    assert placed([job(3, 7, gpus=2)], two, running) == []
    shared = [replace(job(3, 12, gpus=2), devices=(0, 1))]
    assert placed([job(4, 11), job(5, 11), job(6, 2)], two, shared, shares=True) == [(4, 0), (5, 1)]


def test_a_job_that_can_never_start_here_keeps_no_gpu_from_others() -> None:
    assert placed([job(1, gpus=5), job(2, on=(7,)), job(3, on=(3, 4)), job(4)], FOUR) == [(4, 0)]
    assert placed([job(1, gpus=2), job(2)], [None]) == [(2,)]


def test_a_job_of_several_waits_for_memory_that_other_programs_hold() -> None:
    found = placing.place([job(1, 20, gpus=2), job(2, 4)], [], [gpu(0), gpu(1, free_gib=10)], shares=False)

    assert found.starts == ()
    assert [(each.id, device.index) for each, device in found.short_of_memory] == [(1, 1)]


@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_no_gpu_is_held_twice_none_is_overtaken_and_every_job_starts(seed: int, shares: bool) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same jobs each time
    devices: list[Gpu | None] = [gpu(index, chance.choice([12, 24, 80])) for index in range(chance.choice([1, 3, 8]))]
    room = {device.index: device.idle.free_gib for device in devices if device is not None}
    waiting = [_any_job(number, len(devices), chance) for number in range(60)]
    running: list[Job] = []
    left = len(waiting)
    while waiting or running:
        for each, chosen in placing.place(waiting, running, devices, shares=shares).starts:
            took = tuple(device.index for device in chosen)
            assert len(set(took)) == each.gpus
            assert not each.gpu_indices or set(took) == set(each.gpu_indices)
            earlier = [one for one in waiting if one.position < each.position]
            held = {device.index for one in earlier for device in placing.usable(one, devices) if device is not None}
            assert not held.intersection(took), (each, took)
            waiting.remove(each)
            running.append(replace(each, devices=took))
            left -= 1
        for index, whole in room.items():
            there = [one.need_gib for one in running if index in one.devices]
            assert len(there) < 2 or (shares and None not in there and sum(need or 0.0 for need in there) <= whole)
        assert running  # something can always go on
        running.remove(chance.choice(running))

    assert left == 0


def _any_job(number: int, cards: int, chance: random.Random) -> Job:
    gpus = chance.choice([1, 1, 1, min(2, cards), min(4, cards)])
    named = tuple(sorted(chance.sample(range(cards), gpus))) if chance.random() < 0.2 else ()
    return job(number, chance.choice([5.0, 9.0, 20.0, 60.0, None]), named, gpus)


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
        running += [replace(each, devices=tuple(one.index for one in chosen)) for each, chosen in starts]
        assert len({each.devices for each in running}) == len(running)
        most = max(most, len(running))
        chance.shuffle(running)
        running = running[len(running) // 3 + 1 :]

    assert sorted(order) == list(range(2000))
    assert most == 64
