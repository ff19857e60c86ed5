"""Work off a simulated queue by the real store, placing and worker: `python scripts/simulate_queue.py`.

GPUs, trainings and time are simulated: a training is a span of simulated seconds, some fail, some are cut off and
resumed, and the worker's pauses take no time. The database is real, on this disk. It checks that every job has ended
once, that no GPU had two at a time, and that no job was overtaken on a GPU that it may use; then it prints figures,
each measured here. Of the jobs, some need 2, 4 or 8 GPUs at once.
"""

from __future__ import annotations

import argparse
import bisect
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.jobs import placing
from sdxl_train_cli.jobs.job import Job, JobState, Waiting
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.jobs.worker import Worker, WorkerOptions

SIZES_GIB = (12.0, 24.0, 80.0)
NEEDS_GIB = (5.0, 9.0, 20.0, 60.0, None)
SEVERAL, SHARE_OF_SEVERAL = (2, 4, 8), 0.15
FAILING, CUT_OFF = 0.02, 0.02
SHORTEST, LONGEST = 600.0, 7200.0
RECORD_BYTES = 6000
"""About what a run's record takes (docs/scale.md)."""


@dataclass
class Simulation:
    """What runs where, and the checks."""

    chance: random.Random
    now: float = 0.0
    """Simulated seconds since the start."""
    ends: dict[int, float] = field(default_factory=dict)
    """When each running job ends."""
    on: dict[int, int] = field(default_factory=dict)
    """The job on each GPU."""
    first: set[int] = field(default_factory=set)
    """Jobs that were started."""
    waiting: dict[Need, list[int]] = field(default_factory=dict)
    """Positions of waiting jobs with the same need, the last first."""
    may_use: dict[Need, frozenset[int]] = field(default_factory=dict)
    """The GPUs that jobs with this need may ever start on."""
    busy_seconds: float = 0.0
    held_seconds: float = 0.0
    """How long GPUs were free that a waiting job of several may use, added up."""


@dataclass(frozen=True)
class Need:
    """What jobs need that may use the same GPUs."""

    gpus: int
    need_gib: float | None


def need_of(job: Job) -> Need:
    """What it needs."""
    return Need(job.gpus, job.need_gib)


class SimulatedWorker(Worker):
    """The worker, with simulated GPUs, trainings and pauses."""

    def simulate(self, simulation: Simulation, devices: Sequence[Gpu]) -> list[float]:
        """Work off the queue. Returns the real seconds that each look at it took."""
        self.simulation, self.devices, self.ticks = simulation, list[Gpu | None](devices), list[float]()
        self.began = time.perf_counter()
        self.work()
        return self.ticks

    def _pause(self, seconds: float) -> None:
        self.ticks.append(time.perf_counter() - self.began)
        now, before = self.simulation, self.simulation.now
        now.now = max(now.now + seconds, min(now.ends.values(), default=0.0))
        now.held_seconds += (now.now - before) * len(self._held())
        for number in [number for number, end in now.ends.items() if end <= now.now]:
            self._end(number)
        self.began = time.perf_counter()

    def _held(self) -> set[int]:
        """The free GPUs that a waiting job of several may use."""
        several = [need for need, positions in self.simulation.waiting.items() if positions and need.gpus > 1]
        may_use = (self.simulation.may_use[need] for need in several)
        return set[int]().union(*may_use).difference(self.simulation.on)

    def _end(self, number: int) -> None:
        """Let a training end, as its own process would note it, or be killed."""
        simulation, job = self.simulation, self.queue.require(number)
        del simulation.ends[number]
        for index in job.devices:
            del simulation.on[index]
        drawn = simulation.chance.random()
        if drawn < FAILING:
            self.queue.end(job, JobState.FAILED, 7, "simulated")
        elif drawn > CUT_OFF + FAILING:
            self.queue.end(job, JobState.DONE, 0)
        else:
            bisect.insort(simulation.waiting[need_of(job)], job.position, key=lambda position: -position)

    def _devices(self) -> list[Gpu | None]:
        return self.devices

    def _lives(self, job: Job) -> bool:
        return job.id in self.simulation.ends

    def _start(self, job: Job) -> None:
        simulation = self.simulation
        if len(set(job.devices)) != job.gpus:
            raise SystemExit(f"job {job.id} needs {job.gpus} GPUs and got {job.devices}")
        for index in job.devices:
            if index in simulation.on:
                raise SystemExit(f"two jobs on GPU {index}: {simulation.on[index]} and {job.id}")
            simulation.on[index] = job.id
        self._require_order(job)
        spent = simulation.chance.uniform(SHORTEST, LONGEST)
        simulation.ends[job.id] = simulation.now + spent
        simulation.busy_seconds += spent * job.gpus
        if (job.starts == 1) is (job.id in simulation.first):
            raise SystemExit(f"job {job.id} was started twice")
        simulation.first.add(job.id)

    def _require_order(self, job: Job) -> None:
        """Exit if a job that waits before this one may use one of its GPUs."""
        waiting = self.simulation.waiting
        waiting[need_of(job)].remove(job.position)
        for need, positions in waiting.items():
            is_before = positions and positions[-1] < job.position
            if is_before and self.simulation.may_use[need].intersection(job.devices):
                raise SystemExit(f"job {job.id} has overtaken the one at {positions[-1]} on {job.devices}")


def main() -> None:
    """Fill a queue, work it off, check it, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--cards", type=int, default=64)
    parser.add_argument("--home", type=Path, help="keep the queue in this folder's folder queue")
    parser.add_argument("--only-add", action="store_true", help="fill the queue of --home, and leave it so")
    options = parser.parse_args()
    if options.only_add and options.home:
        jobs = waiting(options.jobs, random.Random(1), options.cards)  # noqa: S311 - as below
        Queue(options.home / "queue").add_all(jobs)
        return
    with tempfile.TemporaryDirectory() as temporary:
        figures = simulate((options.home or Path(temporary)) / "queue", options.jobs, options.cards)
    print(json.dumps(figures, indent=1))


def simulate(folder: Path, count: int, cards: int) -> dict[str, object]:
    """The figures of one simulation."""
    chance = random.Random(1)  # noqa: S311 - the same queue each time
    queue = Queue(folder)
    devices = [Gpu(index, "simulated", size, size - 0.5, (8, 9), "550") for index, size in
               enumerate(chance.choice(SIZES_GIB) for _ in range(cards))]  # fmt: skip
    jobs = waiting(count, chance, cards)
    began = time.perf_counter()
    queue.add_all(jobs)
    added = time.perf_counter() - began
    simulation = Simulation(chance)
    for job in reversed(queue.jobs()):
        need = need_of(job)
        simulation.waiting.setdefault(need, []).append(job.position)
        if need not in simulation.may_use:
            simulation.may_use[need] = frozenset(device.index for device in placing.usable(job, devices) if device)
    worker = SimulatedWorker(queue, WorkerOptions(), lambda _job: (), lambda _line: None)
    began = time.perf_counter()
    ticks = worker.simulate(simulation, devices)
    worked = time.perf_counter() - began
    require_whole(queue, simulation, count)
    began = time.perf_counter()
    listed = len(queue.jobs())
    return {
        "jobs": listed, "cards": cards, "seconds_to_add_all": round(added, 2), "seconds_to_work_off": round(worked, 1),
        "jobs_per_second": round(count / worked), "looks": len(ticks),
        "median_milliseconds_a_look": round(1000 * statistics.median(ticks), 2),
        "longest_milliseconds_a_look": round(1000 * max(ticks), 1),
        "milliseconds_to_read_all_jobs": round(1000 * (time.perf_counter() - began), 1),
        "database_megabytes": round(queue.database.stat().st_size / 1e6, 1),
        "failed": len(queue.jobs(JobState.FAILED)), "cut_off": sum(job.starts - 1 for job in queue.jobs()),
        "simulated_days": round(simulation.now / 86_400, 2),
        "jobs_of_several_gpus": sum(job.gpus > 1 for job in queue.jobs()),
        "share_of_time_that_cards_were_busy": round(simulation.busy_seconds / (simulation.now * cards), 3),
        "share_that_cards_were_held_for_jobs_of_several": round(simulation.held_seconds / (simulation.now * cards), 3),
    }  # fmt: skip


def waiting(count: int, chance: random.Random, cards: int) -> list[Waiting]:
    """As many trainings, none of which needs more GPUs than there are."""
    record = json.dumps({"simulated": "x" * RECORD_BYTES})
    several = [gpus for gpus in SEVERAL if gpus <= cards]
    return [Waiting(f"run{number}", "lora", "dim32-gc", record, need_gib=chance.choice(NEEDS_GIB),
                    gpus=chance.choice(several) if several and chance.random() < SHARE_OF_SEVERAL else 1)
            for number in range(count)]  # fmt: skip


def require_whole(queue: Queue, simulation: Simulation, count: int) -> None:
    """Exit where a job was lost."""
    jobs = queue.jobs()
    if sorted(job.id for job in jobs) != list(range(1, count + 1)) or not all(job.state.has_ended for job in jobs):
        raise SystemExit("a job was lost")
    if sorted(simulation.first) != list(range(1, count + 1)):
        raise SystemExit("a job was not started")


if __name__ == "__main__":
    main()
