"""Work off the queue: one process for each job, one job on each GPU, on past failures and across interruptions.

A job's process outlives the worker: the next worker finds it by its lock and waits for it. So the worker may be killed
at any moment without a job being lost or started twice.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from sdxl_train_cli import gpu, process
from sdxl_train_cli.errors import Problem, SetupError, UsageError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.jobs import obstacles, placing, starting
from sdxl_train_cli.jobs.job import Job, JobState
from sdxl_train_cli.jobs.placing import Placement
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.process import Detached
from sdxl_train_cli.records import run_owner

_POLL_SECONDS = 1.0
_MOST_CUT_OFFS = 5
"""A job that was cut off so often without a further step would take the machine down once more."""
_GRACE_SECONDS = 180.0
"""How long a stopped job may take: the trainer ends its step and saves what it is saving."""
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class WorkerOptions:
    """How to work off the queue."""

    devices: tuple[int, ...] | None = None
    """GPUs that may be used. None for all."""
    shares: bool = False
    """Whether jobs may share a GPU where their memory allows it."""
    waits: bool = False
    """Whether to wait for further jobs when none is left."""


@dataclass
class Worker:
    """One worker. Only one works on a queue at a time: `holding` sees to that."""

    queue: Queue
    options: WorkerOptions
    argv: Callable[[Job], Sequence[str]]
    """The command line that carries out a claimed job."""
    say: Callable[[str], None]
    refill: Callable[[], None] = lambda: None
    """Adds what follows from jobs that have ended. Called at the start, and before the worker ends."""
    _children: dict[int, Detached] = field(default_factory=dict)
    _short: dict[int, float] = field(default_factory=dict)
    """Since when a job waits for memory that other programs hold."""
    _told: set[int] = field(default_factory=set)
    """Jobs whose want of memory has been reported."""
    _told_obstacles: set[int] = field(default_factory=set)
    """Jobs whose obstacle has been reported, or that have none."""
    _asked: set[tuple[int, int]] = field(default_factory=set)
    """Starts that were asked to stop."""

    def work(self) -> None:
        """Work until nothing is left, or until it is asked to end. Blocks."""
        self.queue.ask_to_end(wanted=False)
        absent = set(self.options.devices or ()) - {device.index for device in gpu.devices()}
        if absent:
            raise UsageError(f"no {gpu.in_words(sorted(absent))}", "`sdxl-train doctor` shows the GPUs")
        self._tell_obstacles(self._devices())
        self.refill()
        while True:
            running = self._look_after()
            if self.queue.is_to_end:
                self.say("asked to end: stopping what runs; the next `sdxl-train queue start` goes on with it")
                self.stop()
                return
            is_left = self._start_what_fits(running)
            if not is_left and not running and not self._children and not self.options.waits:
                self.refill()
                if not self.queue.jobs(JobState.WAITING) or not self._start_what_fits(running):
                    return
            self._pause(_POLL_SECONDS)

    def stop(self) -> None:
        """Stop every running job, so that it can be resumed, and wait for that. Jobs that take too long are left."""
        end = time.monotonic() + _GRACE_SECONDS
        while (running := self._look_after()) and time.monotonic() < end:
            for job in running:
                self._signal(job)
            self._pause(_POLL_SECONDS / 4)

    def _look_after(self) -> list[Job]:
        """Note what has ended, stop what is to stop, and give the jobs that run on."""
        codes = {number: child.poll() for number, child in self._children.items()}
        ended = {number: code for number, code in codes.items() if code is not None}
        for number in ended:
            del self._children[number]
        running = []
        for job in self.queue.jobs(JobState.RUNNING):
            if job.id in self._children or self._lives(job):
                running.append(job)
                if job.is_to_stop:
                    self._signal(job)
            else:
                self._note_cut_off(self.queue.get(job.id))
        self._report(ended)
        return running

    def _pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def _lives(self, job: Job) -> bool:
        """Whether a process carries the job out, whoever started it."""
        return run_owner.is_held(self.queue.job_folder(job.id))

    def _note_cut_off(self, job: Job | None) -> None:
        """Let a job whose process is gone wait again, if it has not told how it ended."""
        if job is None or job.state is not JobState.RUNNING:
            return
        if job.is_to_stop:
            self.queue.end(job, JobState.STOPPED, process.SIGNALLED + int(signal.SIGTERM))
        elif job.cut_offs + 1 >= _MOST_CUT_OFFS and starting.steps_of(job) <= job.steps:
            cause = f"it was cut off {_MOST_CUT_OFFS} times without a further step; see `sdxl-train queue log {job.id}`"
            self.queue.end(job, JobState.FAILED, 1, cause)
            self.say(f"{job.words} failed: {cause}")
        else:
            step = starting.steps_of(job)
            self.queue.put_back(job, step, is_cut_off=True)
            then = f"will be resumed from step {step}" if step else "will start anew: it had saved no state"
            self.say(f"{job.words} was cut off and {then}")

    def _report(self, codes: Mapping[int, int]) -> None:
        """Say how jobs ended. SetupError if none can start here, so that not all of them fail in a row."""
        for number, code in codes.items():
            job = self.queue.get(number)
            if job is None:  # taken out of the queue a moment after its end
                continue
            if job.state.has_ended:
                told = starting.result_of(job) if job.state is JobState.DONE else job.cause
                self.say(f"{job.words} {job.state.value}{f': {told}' if told else ''}")
            elif code == SetupError.exit_code:
                raise SetupError(
                    f"{job.words} can't start, and no other could: `sdxl-train queue log {job.id}`",
                    "sdxl-train doctor, then: sdxl-train queue start",
                )

    def _start_what_fits(self, running: Sequence[Job]) -> bool:
        """Start what fits now, in the queue's order. False if nothing started and nothing waits for it."""
        if not self.queue.has_waiting():
            return False
        devices = self._devices()
        placed = self._placed(running, devices)
        for job, chosen in placed.starts:
            claimed = self.queue.claim(job.id, [device.index for device in chosen])
            if claimed is not None:
                self._start(claimed)
        for job, device in placed.short_of_memory:
            self._say_in_time(job, device)
        if placed.starts or self.queue.has_waiting(devices):
            return True
        self._tell_obstacles(devices)
        return False

    def _placed(self, running: Sequence[Job], devices: Sequence[Gpu | None]) -> Placement:
        """What to start where. Reads only as many waiting jobs as it takes to fill the devices."""
        shares = self.options.shares
        not_full = placing.not_full(devices, running, shares=shares)
        if not not_full:
            return placing.NOTHING
        with closing(self.queue.waiting_for(not_full, placing.most_gib(devices))) as waiting:
            return placing.place(waiting, running, devices, shares=shares)

    def _devices(self) -> list[Gpu | None]:
        """The GPUs to use; the processor where there is none."""
        wanted = self.options.devices
        found: list[Gpu | None] = [device for device in gpu.devices() if wanted is None or device.index in wanted]
        if not found and wanted is not None:
            raise UsageError(f"no {gpu.in_words(wanted)}", "`sdxl-train doctor` shows the GPUs")
        return found or [None]

    def obstacle(self, job: Job) -> str | None:
        """Why a job can't start on the GPUs of this worker, in words. None if it can."""
        return obstacles.of(job, self._devices(), given=self.options.devices)

    def _tell_obstacles(self, devices: Sequence[Gpu | None]) -> None:
        """Say once of each job that can't start here why it waits on."""
        new = [job for job in self.queue.restricted() if job.id not in self._told_obstacles]
        for line in obstacles.lines(new, devices, given=self.options.devices):
            self.say(line)
        self._told_obstacles |= {job.id for job in new}

    def _say_in_time(self, job: Job, device: Gpu) -> None:
        """Say once that a job waits for memory: not at once, as a driver frees it a moment after a run has ended."""
        since = self._short.setdefault(job.id, time.monotonic())
        if job.id not in self._told and time.monotonic() - since > _PATIENCE_SECONDS:
            self._told.add(job.id)
            self.say(
                f"{job.words} waits: it needs {job.need_gib:.1f} GB, and other programs leave "
                f"{device.free_gib:.1f} GB of GPU {device.index}"
            )

    def _start(self, job: Job) -> None:
        try:
            self.queue.job_folder(job.id).mkdir(parents=True, exist_ok=True)
            self._children[job.id] = process.start_detached(self.argv(job), self.queue.log(job.id))
        except OSError as error:
            self.queue.put_back(job, job.steps, is_cut_off=False)
            raise UsageError(
                f"{job.words} can't be started: {error.strerror}", "check space and permissions there, then start again"
            ) from error
        where = gpu.in_words(job.devices) if job.devices else "the processor"
        verb = "started" if job.starts == 1 else "started again"
        self.say(f"{job.words} {verb} on {where}")

    def _signal(self, job: Job) -> None:
        """Ask a job's process to stop its run; the run stays resumable. Once: a second signal would not wait."""
        if (job.id, job.starts) in self._asked:
            return
        child = self._children.get(job.id)
        pid = run_owner.process_of(self.queue.job_folder(job.id)) if child is None else child.pid
        if pid is not None:  # another worker's job notes its process a moment after its lock
            self._asked.add((job.id, job.starts))
            process.ask_to_end(pid)


@contextmanager
def holding(queue: Queue) -> Iterator[None]:
    """Be the queue's only worker for the duration of the block. UsageError if there is one already."""
    busy = Problem("a worker is already working on this queue", "`sdxl-train queue list` shows it")
    with run_owner.alone(queue.worker_folder, busy):
        yield


def is_working(queue: Queue) -> bool:
    """Whether a worker works on the queue."""
    return run_owner.is_held(queue.worker_folder)


def own_argv(*words: str) -> list[str]:
    """The command line of one of our commands."""
    return [sys.executable, "-m", "sdxl_train_cli", *words]
