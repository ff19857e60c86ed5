"""Processes of the queue are killed at random moments: no job is lost, none runs twice, and the order is kept.

SDXL_TRAIN_TEST_QUEUE_KILLS=200 is the long proof; -s shows its figures.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import upstream_source
from conftest import Cli, Running, own_home, variables

from sdxl_train_cli import process
from sdxl_train_cli.jobs import starting
from sdxl_train_cli.jobs.job import JobState, Waiting
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.records import history, metrics
from sdxl_train_cli.records.history import RunState
from sdxl_train_cli.sdscripts import states

KILLS = int(os.environ.get("SDXL_TRAIN_TEST_QUEUE_KILLS", "4"))
REAL_KILLS = int(os.environ.get("SDXL_TRAIN_TEST_REAL_KILLS", "6"))
CARDS = 3
STEPS, REAL_STEPS = 42, 12
"""The stand-in's steps are whole epochs of its three pictures, as it counts wrong when resumed within one."""
FAKE_DRIVER = Path(__file__).parents[1] / "fake_driver"
VICTIMS = ("worker", "supervisor", "guard", "trainer", "machine")
TRAINER = "sdxl_train_network.py"
LOG_OF_STATES = """
CREATE TABLE changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, job INTEGER, state TEXT, starts INTEGER, devices TEXT
);
CREATE TRIGGER changed AFTER UPDATE OF state ON jobs BEGIN
    INSERT INTO changes (job, state, starts, devices) VALUES (NEW.id, NEW.state, NEW.starts, NEW.devices);
END;
"""
pytestmark = pytest.mark.skipif(process.WINDOWS, reason="sends POSIX signals")


@dataclass
class Killer:
    """Kills processes of one queue until it has killed often enough, and lets the queue be worked off."""

    cli: Cli
    queue: Queue
    kills: int
    pauses: tuple[float, float]
    """Seconds between two kills, at least and at most."""
    environ: Mapping[str, str]
    seconds_per_kill: float = 60.0
    """Generous: a busy machine must not fail a test."""
    moment: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311 - the same each time
    killed: Counter[str] = field(default_factory=Counter)
    failed: int = 0

    def work(self) -> None:
        """Start a worker whenever there is none, until every job is done."""
        end = time.monotonic() + self.seconds_per_kill * (self.kills + len(self.queue.jobs()))
        while not all(job.state is JobState.DONE for job in self.queue.jobs()):
            assert time.monotonic() < end, "it takes too long"
            with self.cli.start("queue", "start", **self.environ) as worker:
                self._kill_at_random(worker)
                worker.process.wait()
            for job in self.queue.jobs(JobState.FAILED):  # a killed trainer is a failed run, as its error tells
                self.failed += 1
                assert job.cause
                assert self.queue.retry(job.id)

    def _kill_at_random(self, worker: Running) -> None:
        while self.killed.total() < self.kills and worker.process.poll() is None:
            time.sleep(self.moment.uniform(*self.pauses))
            victim = self.moment.choice(VICTIMS)
            self.killed[victim] += self._kill(victim, worker.process.pid)

    def _kill(self, victim: str, worker: int) -> bool:
        """Kill one process, or all. Whether there was one."""
        if victim == "machine":
            while found := self.processes():
                for pid in found:
                    _end(pid)
            return True
        words = {"supervisor": "--claimed", "guard": "process_guard.py", "trainer": TRAINER}
        found = [worker] if victim == "worker" else self.processes(words[victim])
        if found:
            _end(self.moment.choice(found))
        return bool(found)

    def processes(self, word: str = "") -> list[int]:
        """The queue's own processes, or those that have a word in their command line."""
        return sorted(_processes(str(self.queue.folder.parent), word))


def _processes(home: str, word: str) -> Iterator[int]:
    for found in psutil.process_iter():
        try:
            if found.environ().get("SDXL_TRAIN_HOME") == home and found.status() != psutil.STATUS_ZOMBIE:
                line = found.cmdline()
                if not word or any(word in part for part in line):
                    yield found.pid
        except psutil.Error:
            continue


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def log_states(queue: Queue) -> None:
    """Let the database itself log each change of a job's state, in the change's own transaction."""
    with sqlite3.connect(queue.database) as database:
        database.executescript(LOG_OF_STATES)


def changes(queue: Queue) -> Sequence[tuple[int, str, int, str]]:
    """Each change of a job's state: job, state, starts, devices."""
    with sqlite3.connect(queue.database) as database:
        return database.execute("SELECT job, state, starts, devices FROM changes ORDER BY number").fetchall()


def require_whole(queue: Queue, numbers: Sequence[int], steps: int, *, has_log: bool) -> None:
    """Every job has ended in one run with no step twice, in the queue's order, alone on its card.

    `has_log`: the trainer logs steps too, so that those which a killed supervisor did not write are not lost.
    """
    jobs = queue.jobs()
    assert sorted(job.id for job in jobs) == list(numbers)
    assert {job.state for job in jobs} == {JobState.DONE}
    for job in jobs:
        run = starting.own_run(job)
        assert run is not None, job
        assert run.state is RunState.DONE
        assert starting.result_of(job) is not None
        assert run.outcome is not None
        assert run.outcome.steps == steps
        told = [step.step for step in metrics.load(run.folder / "metrics.jsonl")]
        assert told == (list(range(1, steps + 1)) if has_log else sorted(set(told))), job
        others = [history.load(folder) for folder in run.folder.parent.iterdir() if folder != run.folder]
        own = [each for each in others if each.record.inputs and each.record.inputs.job == job.token]
        assert RunState.DONE not in {each.state for each in own}, job
    busy, needs = dict[str, int](), {job.id: job.gpus for job in jobs}
    for number, state, _, devices in changes(queue):
        cards = devices.split(",")
        if state == JobState.RUNNING.value:
            assert len(set(cards)) == needs[number]
            assert not busy.keys() & set(cards), (number, busy)
            busy |= dict.fromkeys(cards, number)
        else:
            busy = {card: held for card, held in busy.items() if held != number}
    first = [number for number, state, starts, _ in changes(queue) if (state, starts) == ("running", 1)]
    assert first == sorted(numbers)


@pytest.fixture
def own(tmp_path: Path, home: Path) -> Path:
    """A home with the stand-in installed, and a queue of its own."""
    return own_home(tmp_path / "home", home)


def test_kills_at_any_moment_lose_no_job_and_start_none_twice(
    own: Path, tmp_path: Path, model: Path, pictures: Path
) -> None:
    (tmp_path / "alone").mkdir()
    # Given to each start, which a warm one would have no driver for.
    driver = {"PYTHONPATH": str(FAKE_DRIVER), "FAKE_CARDS": str(CARDS), "STANDIN_ALONE": str(tmp_path / "alone")}
    cli = Cli(tmp_path, {**variables(tmp_path), "SDXL_TRAIN_HOME": str(own)})
    queue = Queue(own / "queue")
    numbers = range(1, max(4, KILLS) + 1)
    for gpus in (1, 2):
        typed = ["lora", "--model", model, "--data", pictures, "--no-vram-check", "--name", "run0", "--steps", STEPS,
                 "--set", "save_every_n_steps=6", "--gpus", gpus]  # fmt: skip
        with cli.start("queue", "add", *typed, **driver) as added:
            assert added.process.wait() == 0, added.stderr
    for number in numbers[2:]:  # every third takes two GPUs, and two of one name may start together
        gpus = 2 if number % 3 == 0 else 1
        queue.add(Waiting(f"run{number // 2}", "lora", "dim32-gc", queue.kept(gpus).record, gpus=gpus))
    log_states(queue)
    killer = Killer(cli, queue, KILLS, (0.1, 4.0), {"STANDIN_STEP_SECONDS": "0.03", **driver})

    began = time.monotonic()
    killer.work()

    _tell(killer, time.monotonic() - began)
    require_whole(queue, numbers, STEPS, has_log=False)
    twice = tmp_path / "alone" / "twice.txt"
    assert not twice.exists(), twice.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.upstream
@pytest.mark.skipif(upstream_source.find() is None, reason="no source of sd-scripts: set SDXL_TRAIN_SOURCE to a clone")
def test_kills_at_any_moment_lose_no_real_training(tmp_path: Path) -> None:
    real = upstream_source.home()
    own = own_home(tmp_path / "home", real)
    cli = Cli(tmp_path, {**os.environ, "SDXL_TRAIN_HOME": str(own), "SDXL_TRAIN_CONFIG": str(tmp_path / "config")})
    (tmp_path / "tmp").mkdir()
    with cli.start("smoke", "--kind", "lora", "--steps", REAL_STEPS, "--keep", "--output", tmp_path / "output") as made:
        assert made.process.wait() == 0, made.stderr
    queue = Queue(own / "queue")
    added = cli("queue", "add", "rerun", tmp_path / "output" / "smoke-lora", "--name", "real1",
                "--set", "save_every_n_steps=3", "--set", "save_state=true")  # fmt: skip
    assert added.code == 0, added.stderr
    numbers = range(1, max(4, REAL_KILLS) + 1)
    for number in numbers[1:]:
        queue.add(Waiting(f"real{number}", "lora", "dim32-gc", queue.kept(1).record))
    log_states(queue)
    killer = Killer(cli, queue, REAL_KILLS, (5.0, 40.0), {}, seconds_per_kill=600)

    began = time.monotonic()
    killer.work()

    _tell(killer, time.monotonic() - began)
    require_whole(queue, numbers, REAL_STEPS, has_log=True)


@pytest.mark.slow
@pytest.mark.upstream
@pytest.mark.skipif(
    upstream_source.find() is None and "SDXL_TRAIN_UPSTREAM_HOME" not in os.environ,
    reason="no source of sd-scripts: set SDXL_TRAIN_SOURCE to a clone",
)
def test_a_real_training_of_two_processes_is_worked_off_and_resumed_by_the_queue(tmp_path: Path) -> None:
    own = own_home(tmp_path / "home", upstream_source.home())
    cli = Cli(tmp_path, {**os.environ, "SDXL_TRAIN_HOME": str(own), "SDXL_TRAIN_CONFIG": str(tmp_path / "config")})
    (tmp_path / "tmp").mkdir()
    with cli.start("smoke", "--kind", "lora", "--processes", 2, "--steps", 2, "--keep", "--output",
                   tmp_path / "output") as made:  # fmt: skip
        assert made.process.wait() == 0, made.stderr
    queue = Queue(own / "queue")
    added = cli("queue", "add", "rerun", tmp_path / "output" / "smoke-lora", "--name", "two", "--steps", REAL_STEPS,
                "--set", "save_every_n_steps=3", "--set", "save_state=true")  # fmt: skip
    assert added.code == 0, added.stderr
    killer = Killer(cli, queue, 0, (0, 0), {}, seconds_per_kill=600)
    folder = tmp_path / "output" / "two"
    with cli.start("queue", "start") as worker:
        end = time.monotonic() + killer.seconds_per_kill
        while not states.complete(folder):
            assert worker.process.poll() is None, worker.stderr
            assert time.monotonic() < end, "it takes too long"
            time.sleep(0.2)
        killer._kill("machine", worker.process.pid)  # noqa: SLF001 - all at once
        worker.process.wait()

    killer.work()

    (job,) = queue.jobs()
    run = history.load(folder)
    assert (job.starts, job.gpus, run.state) == (2, 1, RunState.DONE)  # on the processor it takes no second GPU
    assert [step.step for step in metrics.load(folder / "metrics.jsonl")] == list(range(1, REAL_STEPS + 1))
    launches = [run.record.argv, *(attempt.argv for attempt in run.record.attempts)]
    assert len(launches) == 2
    assert all("--num_processes=2" in argv for argv in launches)


def _tell(killer: Killer, seconds: float) -> None:
    jobs = len(killer.queue.jobs())
    starts = sum(job.starts for job in killer.queue.jobs())
    told = f"{jobs} jobs, {dict(killer.killed)} killed, {killer.failed} retried, {starts} starts in {seconds:.0f} s"
    print(told)  # noqa: T201 - the figure
