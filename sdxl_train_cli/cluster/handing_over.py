"""Hand waiting jobs of the queue to a cluster, so that at any moment one of the two has each job, and only one.

A job is marked in the queue, so that no worker starts it; then it is submitted; then the queue forgets it. What a kill
leaves marked is settled by its token: the cluster has it if a batch that was submitted holds it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sdxl_train_cli.cluster import batch, slurm
from sdxl_train_cli.cluster.submitting import SlurmEngine
from sdxl_train_cli.errors import Problem, SdxlTrainError, UsageError
from sdxl_train_cli.jobs import starting, worker
from sdxl_train_cli.jobs.job import Job, JobState, Waiting
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.records import run_owner
from sdxl_train_cli.records.history import RunState
from sdxl_train_cli.records.record import Inputs, Record

_LOCK = "handing-over"


@dataclass(frozen=True)
class HandedShare:
    """Jobs that ask the same of a cluster, in the queue's order."""

    jobs: tuple[Job, ...]
    points: tuple[Waiting, ...]
    engine: SlurmEngine


@dataclass(frozen=True)
class HandedOver:
    """What was handed over."""

    count: int = 0
    """Jobs of the queue."""
    numbers: tuple[str, ...] = ()
    """Slurm's, one for each array."""


@contextlib.contextmanager
def holding(queue: Queue) -> Iterator[None]:
    """Be the only one who hands jobs or runs over, for the duration of the block. UsageError if another does."""
    busy = Problem("another command hands runs over to the cluster", "wait for it to end: sdxl-train cluster list")
    with run_owner.alone(queue.folder / _LOCK, busy):
        yield


def settle(queue: Queue, place: Path) -> None:
    """Settle what a hand-over left that was cut off. Call it while holding. SlurmError if Slurm does not say."""
    marked = queue.jobs(JobState.HANDING_OVER)
    if not marked:
        return
    there = batch.with_tokens(place, {job.token for job in marked})
    for one in set(there.values()):
        if not one.jobs:  # cut off before Slurm's answer was noted
            job = slurm.of_script(one.script)
            if job is not None:
                one.note_job(job)
            elif not (one.jobs or one.has_started):  # a job that has started notes its number itself
                batch.drop(one)
    taken = {token for token, one in there.items() if one.jobs or one.has_started}
    queue.end_hand_over(
        [job.id for job in marked if job.token in taken], [job.id for job in marked if job.token not in taken]
    )


def settle_now(queue: Queue, place: Path) -> Problem | None:
    """Settle a hand-over that was cut off, if that can be done now. Returns what keeps it from that."""
    if not queue.jobs(JobState.HANDING_OVER):
        return None
    try:
        with holding(queue):
            settle(queue, place)
    except SdxlTrainError as error:  # the next one settles it
        return error.problems[0]
    return None


def waiting(queue: Queue) -> list[Job]:
    """The jobs that wait, and those that will, as their process is gone and no worker sees to that."""
    found = [*queue.jobs(JobState.WAITING), *_cut_off(queue)]
    return sorted(found, key=lambda job: job.position)


def put_back_cut_off(queue: Queue) -> None:
    """Let jobs wait again whose process is gone."""
    for job in _cut_off(queue):
        queue.put_back(job, starting.steps_of(job), is_cut_off=True)


def _cut_off(queue: Queue) -> list[Job]:
    running = [] if worker.is_working(queue) else queue.jobs(JobState.RUNNING)
    return [job for job in running if not job.is_to_stop and not run_owner.is_held(queue.job_folder(job.id))]


def shares(
    queue: Queue, jobs: Sequence[Job], engine: SlurmEngine, changed: Callable[[Job, Record], Record],
    say: Callable[[str], None],
) -> list[HandedShare]:  # fmt: skip
    """The jobs, those with the same resources together. `changed` gives the record that a job is submitted with."""
    found: dict[tuple[int, int], list[tuple[Job, Waiting]]] = {}
    for job in jobs:
        point, inputs = _point(queue, job, changed)
        indices = inputs.gpu_indices or (() if inputs.gpu_index is None else (inputs.gpu_index,))
        if indices:
            numbers = ", ".join(map(str, indices))
            say(f"{job.words} was added for GPU {numbers} of this computer; on the cluster Slurm chooses")
        found.setdefault((inputs.processes, inputs.nodes), []).append((job, point))
    return [
        HandedShare(
            tuple(job for job, _ in each), tuple(point for _, point in each),
            replace(engine, settings=engine.settings.with_gpus(processes), nodes=nodes),
        )
        for (processes, nodes), each in found.items()
    ]  # fmt: skip


def _point(queue: Queue, job: Job, changed: Callable[[Job, Record], Record]) -> tuple[Waiting, Inputs]:
    """What a job is submitted as, and the choices that it was added with."""
    kept = queue.kept(job.id)
    try:
        record = Record.model_validate_json(kept.record)
    except ValueError as error:
        raise UsageError(f"job {job.id} can't be read", "add it again with `sdxl-train queue add`") from error
    if record.inputs is None:
        raise UsageError(f"job {job.id} does not say what was chosen", "add it again with `sdxl-train queue add`")
    anywhere = record.model_copy(update={"inputs": replace(record.inputs, gpu_index=None, gpu_indices=())})
    point = Waiting(
        name=job.name, kind=job.kind, preset=job.preset, token=job.token, guards_off=kept.guards_off,
        record=changed(job, anywhere).model_dump_json(exclude_unset=True), step_downs=kept.step_downs,
        run=None if starting.own_run(job) is None else job.folder,
    )  # fmt: skip
    return point, record.inputs


def hand_over(queue: Queue, share: HandedShare, at_once: int | None) -> HandedOver:
    """Submit the jobs that still wait, all or none. Call it while holding."""
    marked = queue.begin_hand_over(job.id for job in share.jobs)
    tokens = {job.token for job in marked}
    points = [point for point in share.points if point.token in tokens]
    if not points:
        return HandedOver()
    try:
        for point in points:
            if point.run is not None:
                run_owner.forget_dead(point.run)
        made = share.engine.submit(points, at_once=at_once)
    except BaseException:
        with contextlib.suppress(SdxlTrainError):  # the next one settles it
            settle(queue, share.engine.home.cluster)
        raise
    queue.end_hand_over([job.id for job in marked], [])
    return HandedOver(len(points), tuple(one.jobs[-1] for one in made))


def why_not_now(job: Job) -> str | None:
    """Why a job's run can't go on elsewhere now. None if it can, or there is none."""
    entry = starting.own_run(job)
    if entry is not None and entry.state in {RunState.RUNNING, RunState.UNKNOWN}:
        return "its run is still running" if entry.state is RunState.RUNNING else entry.problem
    return None
