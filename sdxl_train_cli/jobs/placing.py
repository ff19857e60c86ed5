"""Which waiting job starts on which GPUs now. Nothing is asked and nothing is started here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.jobs.job import Job


class Fit(Enum):
    """Whether a job can start on a GPU that it may use."""

    NOW = "now"
    LATER = "later"
    """When a job there has ended."""
    MEMORY = "memory"
    """When other programs leave more of its memory."""


@dataclass(frozen=True)
class Placement:
    """What to start, and what waits for memory that other programs hold."""

    starts: tuple[tuple[Job, tuple[Gpu, ...]], ...]
    """Without a GPU, the job starts on the processor."""
    short_of_memory: tuple[tuple[Job, Gpu], ...]


NOTHING = Placement((), ())


def place(waiting: Iterable[Job], running: Sequence[Job], devices: Sequence[Gpu | None], *, shares: bool) -> Placement:
    """Place jobs in their order. A job that must wait is not overtaken on any GPU that it may use.

    So the GPUs that become free are held for a job that needs several, until they are enough. A device of None is the
    processor, which takes one job. `shares` lets jobs share a GPU whose memory is enough for all of them. Of `waiting`,
    no more is read than it takes to fill the devices.
    """
    beside: dict[int | None, list[Job]] = {_index(device): [] for device in devices}
    for job in running:
        for index in job.devices or (None,):
            beside.setdefault(index, []).append(job)
    open_devices = not_full(devices, running, shares=shares)
    starts, short = list[tuple[Job, tuple[Gpu, ...]]](), list[tuple[Job, Gpu]]()
    for job in waiting if open_devices else ():
        may_use = {_index(device) for device in usable(job, devices)}
        mine = [device for device in open_devices if _index(device) in may_use]
        fits = {_index(device): _fit(job, device, beside, shares=shares) for device in mine}
        free = [device for device in mine if fits[_index(device)] is Fit.NOW]
        if mine and len(free) >= job.gpus:
            chosen = _freest(free, job.gpus)
            starts.append((job, tuple(device for device in chosen if device is not None)))
            for device in chosen:
                beside[_index(device)].append(job)
            closed = [] if shares else chosen
        else:
            short += [(job, device) for device in mine if device is not None and fits[device.index] is Fit.MEMORY]
            closed = mine
        open_devices = [device for device in open_devices if device not in closed]
        if not open_devices:
            break
    return Placement(tuple(starts), tuple(short))


def usable(job: Job, devices: Sequence[Gpu | None]) -> list[Gpu | None]:
    """The devices that a job may ever start on. Empty if there are too few, or others were named.

    One that fits nowhere is started, and its own check says so.
    """
    if not is_possible(job.gpus, job.gpu_indices, devices):
        return []
    if job.gpu_indices:
        return [device for device in devices if device is None or device.index in job.gpu_indices]
    need = job.need_gib
    large = [device for device in devices if device is None or need is None or device.idle.free_gib >= need]
    return large if len(large) >= job.gpus else list(devices)


def is_possible(gpus: int, named: Sequence[int], devices: Sequence[Gpu | None]) -> bool:
    """Whether there are as many GPUs as a job needs, those that it named among them.

    The processor takes any job of one GPU: the job's own check refuses what needs a GPU.
    """
    there = {device.index for device in devices if device is not None}
    return gpus <= len(devices) and (not there or there.issuperset(named))


def not_full(devices: Sequence[Gpu | None], running: Sequence[Job], *, shares: bool) -> list[Gpu | None]:
    """The devices on which a job may start now: those without one, and with `shares` all."""
    taken = {index for job in running for index in job.devices or (None,)}
    return [device for device in devices if shares or _index(device) not in taken]


def most_gib(devices: Sequence[Gpu | None]) -> float:
    """What the largest GPU has when nothing runs on it."""
    return max((device.idle.free_gib for device in devices if device is not None), default=0.0)


def _freest(devices: Sequence[Gpu | None], count: int) -> list[Gpu | None]:
    """So many of these, with the most free memory, by number."""
    free = sorted(devices, key=lambda device: 0.0 if device is None else -device.free_gib)[:count]
    return sorted(free, key=lambda device: -1 if device is None else device.index)


def _fit(job: Job, device: Gpu | None, beside: Mapping[int | None, Sequence[Job]], *, shares: bool) -> Fit:
    others = beside[_index(device)]
    if device is None:
        return Fit.LATER if others else Fit.NOW
    whole, need = device.idle.free_gib, job.need_gib
    if others:
        needs = [one.need_gib for one in (*others, job)]
        known = [each for each in needs if each is not None]
        return Fit.NOW if shares and len(known) == len(needs) and sum(known) <= whole else Fit.LATER
    if need is not None and device.free_gib < need <= whole:
        return Fit.MEMORY
    return Fit.NOW


def _index(device: Gpu | None) -> int | None:
    return None if device is None else device.index
