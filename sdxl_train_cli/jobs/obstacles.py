"""Why a job can't start on the GPUs that there are, however long it waits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sdxl_train_cli import formatting, gpu
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.jobs import placing
from sdxl_train_cli.jobs.job import Job

_MOST_NAMED = 8


def of(job: Job, devices: Sequence[Gpu | None], *, given: Sequence[int] | None) -> str | None:
    """What it needs and what is there, without a subject. None if it can start.

    `given` are the GPUs that the worker was told to use.
    """
    if placing.is_possible(job.gpus, job.gpu_indices, devices):
        return None
    there = [device.index for device in devices if device is not None]
    wanted = f"is for {gpu.in_words(job.gpu_indices)}" if job.gpu_indices else f"needs {job.gpus} GPUs"
    if given is not None:
        return f"{wanted}, and --gpu {','.join(map(str, given))} keeps to {gpu.in_words(there)}"
    return f"{wanted}, and this computer has {gpu.in_words(there) if there else 'none'}"


def lines(jobs: Sequence[Job], devices: Sequence[Gpu | None], *, given: Sequence[int] | None) -> Iterator[str]:
    """One line for each reason, with the jobs that can't start for it."""
    found = dict[str, list[Job]]()
    for job in jobs:
        why = of(job, devices, given=given)
        if why is not None:
            found.setdefault(why, []).append(job)
    for why, kept_out in found.items():
        if len(kept_out) == 1:
            yield f"{kept_out[0].words} can't start here: it {why}"
        else:
            numbers = formatting.some(tuple(str(job.id) for job in kept_out), _MOST_NAMED)
            yield f"{len(kept_out)} jobs can't start here, as each {why}: {numbers}"
