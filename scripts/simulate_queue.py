"""Work off a simulated queue by the real store, placing and worker: `python scripts/simulate_queue.py`.

GPUs, trainings and time are simulated: a training is a span of simulated seconds, some fail, some are cut off and
resumed, and the worker's pauses take no time. The database is real, on this disk. It checks that every job has ended
once, that no GPU had two at a time, and that jobs which may use any GPU started in the queue's order; then it prints
figures, each measured here.
"""

from __future__ import annotations

import argparse
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
from sdxl_train_cli.jobs.job import Job, JobState, Waiting
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.jobs.worker import Worker, WorkerOptions

SIZES_GIB = (12.0, 24.0, 80.0)
NEEDS_GIB = (5.0, 9.0, 20.0, 60.0, None)
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
    on: dict[int | None, int] = field(default_factory=dict)
    """The job on each GPU."""
    order: list[int] = field(default_factory=list)
    """Jobs by their first start."""
    busy_seconds: float = 0.0


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
        now = self.simulation
        now.now = max(now.now + seconds, min(now.ends.values(), default=0.0))
        for number in [number for number, end in now.ends.items() if end <= now.now]:
            self._end(number)
        self.began = time.perf_counter()

    def _end(self, number: int) -> None:
        """Let a training end, as its own process would note it, or be killed."""
        simulation, job = self.simulation, self.queue.require(number)
        del simulation.ends[number]
        del simulation.on[job.device]
        drawn = simulation.chance.random()
        if drawn < FAILING:
            self.queue.end(job, JobState.FAILED, 7, "simulated")
        elif drawn > CUT_OFF + FAILING:
            self.queue.end(job, JobState.DONE, 0)

    def _devices(self) -> list[Gpu | None]:
        return self.devices

    def _lives(self, job: Job) -> bool:
        return job.id in self.simulation.ends

    def _start(self, job: Job) -> None:
        simulation = self.simulation
        if job.device in simulation.on:
            raise SystemExit(f"two jobs on GPU {job.device}: {simulation.on[job.device]} and {job.id}")
        spent = simulation.chance.uniform(SHORTEST, LONGEST)
        simulation.on[job.device] = job.id
        simulation.ends[job.id] = simulation.now + spent
        simulation.busy_seconds += spent
        if job.starts == 1:
            simulation.order.append(job.id)


def main() -> None:
    """Fill a queue, work it off, check it, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--cards", type=int, default=64)
    parser.add_argument("--home", type=Path, help="keep the queue in this folder's folder queue")
    parser.add_argument("--only-add", action="store_true", help="fill the queue of --home, and leave it so")
    options = parser.parse_args()
    if options.only_add and options.home:
        Queue(options.home / "queue").add_all(waiting(options.jobs, random.Random(1)))  # noqa: S311 - as below
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
    jobs = waiting(count, chance)
    began = time.perf_counter()
    queue.add_all(jobs)
    added = time.perf_counter() - began
    simulation = Simulation(chance)
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
        "share_of_time_that_cards_were_busy": round(simulation.busy_seconds / (simulation.now * cards), 3),
    }  # fmt: skip


def waiting(count: int, chance: random.Random) -> list[Waiting]:
    """As many trainings."""
    record = json.dumps({"simulated": "x" * RECORD_BYTES})
    return [Waiting(f"run{number}", "lora", "dim32-gc", record, need_gib=chance.choice(NEEDS_GIB))
            for number in range(count)]  # fmt: skip


def require_whole(queue: Queue, simulation: Simulation, count: int) -> None:
    """Exit where a job was lost, or started out of its order."""
    jobs = queue.jobs()
    if sorted(job.id for job in jobs) != list(range(1, count + 1)) or not all(job.state.has_ended for job in jobs):
        raise SystemExit("a job was lost")
    if sorted(simulation.order) != list(range(1, count + 1)):
        raise SystemExit("a job was started twice, or not at all")
    needs = {job.id: job.need_gib for job in jobs}
    for need in NEEDS_GIB:  # jobs of one need can use the same GPUs, so that none may overtake another
        alike = [number for number in simulation.order if needs[number] == need]
        if alike != sorted(alike):
            raise SystemExit(f"jobs that need {need} GB were started out of their order")


if __name__ == "__main__":
    main()
