"""Which waiting job starts on which GPU now. Nothing is asked and nothing is started here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.jobs.job import Job


class Fit(Enum):
    """Whether a job can start on a GPU."""

    NOW = "now"
    LATER = "later"
    """When a job there has ended."""
    MEMORY = "memory"
    """When other programs leave more of its memory."""
    ELSEWHERE = "elsewhere"
    """It needs a larger GPU, and there is one, or it was added for another."""


@dataclass(frozen=True)
class Placement:
    """What to start, and what waits for memory that other programs hold."""

    starts: tuple[tuple[Job, Gpu | None], ...]
    short_of_memory: tuple[tuple[Job, Gpu], ...]


NOTHING = Placement((), ())


def place(waiting: Iterable[Job], running: Sequence[Job], devices: Sequence[Gpu | None], *, shares: bool) -> Placement:
    """Place jobs in their order. A job that must wait for a GPU is not overtaken there.

    A device of None is the processor, which takes one job. `shares` lets jobs share a GPU whose memory is enough for
    all of them. Of `waiting`, no more is read than it takes to fill the devices.
    """
    largest = most_gib(devices)
    beside: dict[int | None, list[Job]] = {_index(device): [] for device in devices}
    for job in running:
        beside.setdefault(job.device, []).append(job)
    open_devices = not_full(devices, running, shares=shares)
    starts, short = list[tuple[Job, Gpu | None]](), list[tuple[Job, Gpu]]()
    for job in waiting if open_devices else ():
        fits = {_index(device): _fit(job, device, beside, largest, shares=shares) for device in open_devices}
        chosen = _best(open_devices, fits)
        if chosen is not None:
            starts.append((job, chosen[0]))
            beside[_index(chosen[0])].append(job)
            open_devices = open_devices if shares else [one for one in open_devices if one is not chosen[0]]
        else:
            short += [(job, one) for one in open_devices if one is not None and fits[one.index] is Fit.MEMORY]
            open_devices = [one for one in open_devices if fits[_index(one)] is Fit.ELSEWHERE]
        if not open_devices:
            break
    return Placement(tuple(starts), tuple(short))


def not_full(devices: Sequence[Gpu | None], running: Sequence[Job], *, shares: bool) -> list[Gpu | None]:
    """The devices on which a job may start now: those without one, and with `shares` all."""
    taken = {job.device for job in running}
    return [device for device in devices if shares or _index(device) not in taken]


def most_gib(devices: Sequence[Gpu | None]) -> float:
    """What the largest GPU has when nothing runs on it."""
    return max((device.idle.free_gib for device in devices if device is not None), default=0.0)


def _best(devices: Sequence[Gpu | None], fits: Mapping[int | None, Fit]) -> tuple[Gpu | None] | None:
    """The GPU with the most free memory among those that are free now."""
    free = [device for device in devices if fits[_index(device)] is Fit.NOW]
    return (max(free, key=lambda device: 0.0 if device is None else device.free_gib),) if free else None


def _fit(
    job: Job, device: Gpu | None, beside: Mapping[int | None, Sequence[Job]], largest_gib: float, *, shares: bool
) -> Fit:
    others = beside[_index(device)]
    if device is None:
        return Fit.LATER if others else Fit.NOW
    whole, need = device.idle.free_gib, job.need_gib
    if job.gpu_index not in {None, device.index}:
        return Fit.ELSEWHERE
    if need is not None and job.gpu_index is None and whole < need <= largest_gib:
        return Fit.ELSEWHERE
    if others:
        needs = [one.need_gib for one in (*others, job)]
        known = [each for each in needs if each is not None]
        return Fit.NOW if shares and len(known) == len(needs) and sum(known) <= whole else Fit.LATER
    if need is not None and device.free_gib < need <= whole:
        return Fit.MEMORY
    return Fit.NOW


def _index(device: Gpu | None) -> int | None:
    return None if device is None else device.index
