"""Slurm's own commands, run and read.

sbatch itself and not submitit, which pickles a Python function for its jobs: ours is a command line in a script that
people can read, change and submit by hand.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import formatting, process
from sdxl_train_cli.errors import Problem, UsageError
from sdxl_train_cli.failures import diagnosis

_SECONDS = 60.0
"""How long a command of a busy controller may take."""
_NOT_FOUND = 127
_MOST_TASKS = re.compile(r"\bmax_array_tasks=(\d+)")
"""A site's lower limit."""
_LIVE = frozenset({
    "PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "REQUEUED", "REQUEUE_HOLD", "RESIZING", "SIGNALING",
    "STAGE_OUT", "STOPPED", "SPECIAL_EXIT",
})  # fmt: skip


@dataclass(frozen=True)
class SlurmJob:
    """What Slurm says of a job, or of one element of an array."""

    id: str
    """`12`, or `12_3` for an element of an array."""
    state: str
    """In Slurm's words: PENDING, RUNNING, TIMEOUT ..."""
    reason: str = ""
    """Why it waits."""
    node: str = ""

    @property
    def is_live(self) -> bool:
        """Whether it waits or runs."""
        return self.state in _LIVE


class SlurmError(UsageError):
    """Slurm refused, or is not there."""


class SilentSlurmError(SlurmError):
    """Slurm did not answer in time, so that what it was asked for may be done."""


def submit(script: Path, *options: str) -> str:
    """Submit a script and return the job's ID. SlurmError with Slurm's reason if it is refused."""
    told = _run("sbatch", "--parsable", *options, str(script))
    return told.strip().splitlines()[-1].partition(";")[0]


def of_script(script: Path) -> str | None:
    """The job that this script was submitted as, if it waits or runs. The latest of several."""
    listed = _run("squeue", "--me", "--noheader", "--format=%F|%o").splitlines()
    found = [job for job, _, command in (line.partition("|") for line in listed) if command == str(script)]
    return max(found, key=int, default=None)


@dataclass(frozen=True)
class Limits:
    """What a site lets one submit. None where Slurm does not say."""

    longest_array: int | None = None
    """Elements. None also where it takes no arrays."""
    most_jobs: int | None = None
    """Jobs that Slurm holds, of all users together. Each element counts."""


def limits() -> Limits:
    """Ask Slurm's configuration."""
    try:
        told = _run("scontrol", "show", "config")
    except SlurmError:
        return Limits()
    config = {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in told.splitlines())}
    lengths = _numbers(config.get("MaxArraySize", ""), *_MOST_TASKS.findall(config.get("SchedulerParameters", "")))
    longest = min(lengths, default=0)  # the largest index is one less, and the first is 0
    return Limits(longest if longest > 1 else None, next(iter(_numbers(config.get("MaxJobCount", ""))), None))


def _numbers(*texts: str) -> list[int]:
    return [int(text) for text in texts if text.isdecimal()]


def cancel(*jobs: str) -> None:
    """Cancel jobs, or elements of arrays."""
    _run("scancel", *jobs)


def jobs(ids: Collection[str]) -> Mapping[str, SlurmJob]:
    """What Slurm knows of jobs and elements of these arrays; what it has forgotten is left out."""
    if not ids:
        return {}
    wanted = {each.partition("_")[0] for each in ids}
    listed = _run("squeue", "--me", "--noheader", "--array", "--format=%i|%T|%r|%N").splitlines()
    found = {one.id: one for one in map(_queued, listed) if one.id.partition("_")[0] in wanted}
    unknown = wanted - {each.partition("_")[0] for each in found}
    # Elements leave the queue one by one; what has left it is in the accounting, or for a while in the controller.
    asked = sorted(wanted if found else unknown)
    ended = {one.id: one for one in _accounted(asked)}
    untold = [each for each in asked if not any(one.partition("_")[0] == each for one in ended)]
    ended |= {one.id: one for one in _remembered(untold)}
    return {**ended, **found}


def _queued(line: str) -> SlurmJob:
    identity, state, reason, node = (*line.split("|"), "", "", "", "")[:4]
    return SlurmJob(identity, state, "" if reason == "None" else reason, node)


def _accounted(ids: Sequence[str]) -> Iterator[SlurmJob]:
    """What the accounting knows. Of a job that was started again, it tells the last start alone."""
    try:
        told = _run("sacct", "-n", "-P", "-X", "-j", ",".join(ids), "--format=JobID,State,NodeList") if ids else ""
    except SlurmError:  # accounting is off
        return
    for line in told.splitlines():
        identity, state, node = (*line.split("|"), "", "")[:3]
        array, _, elements = identity.partition("_")
        for each in _identities(array, elements):
            place = "" if node == "None assigned" else node
            yield SlurmJob(each, (state.split() or [""])[0], node=place)  # "CANCELLED by 1000"


def _remembered(ids: Sequence[str]) -> Iterator[SlurmJob]:
    """What the controller still knows: for MinJobAge seconds of what has ended, and of other users' jobs."""
    for each in ids:
        try:
            told = _run("scontrol", "show", "job", "--oneliner", each)
        except SlurmError:  # forgotten
            continue
        for line in told.splitlines():
            facts = dict(word.partition("=")[::2] for word in line.split() if "=" in word)
            array, element = facts.get("ArrayJobId"), facts.get("ArrayTaskId", "")
            node = facts.get("NodeList", "").replace("(null)", "")
            for identity in _identities(array or facts.get("JobId", each), element if array else ""):
                yield SlurmJob(identity, facts.get("JobState", ""), facts.get("Reason", ""), node)


def _identities(job: str, elements: str) -> Iterator[str]:
    """A job's own ID, or those of an array's elements: `3`, `[1-3,7%2]`. Elements that never started are one line."""
    for part in elements.strip("[]").partition("%")[0].split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and last.isdecimal():
            yield from (f"{job}_{number}" for number in range(int(first), int(last) + 1))
        else:
            yield f"{job}_{part}" if part else job


def _silence(command: str, error: process.SlowCommandError) -> Problem:
    """What is wrong with a command that does not end: sbatch tries again for two minutes where the queue is full."""
    known = diagnosis.explain(error.said.splitlines())
    if known is not None:
        return Problem(f"{command}: {known.cause}", known.remedy)
    return Problem(f"{command} does not answer: {error}", "try again; is this a login node?")


def _run(*argv: str) -> str:
    try:
        done = process.run(argv, timeout_seconds=_SECONDS, env={**os.environ, "SLURM_BITSTR_LEN": "0"})  # no "..."
    except process.SlowCommandError as error:
        raise SilentSlurmError(_silence(argv[0], error)) from error
    except OSError as error:
        raise SlurmError(f"{argv[0]} does not answer: {error}", "try again; is this a login node?") from error
    if done.code == _NOT_FOUND:
        raise SlurmError(f"{argv[0]} is not here", "go to a login node of the cluster, where Slurm's commands are")
    if done.code:
        told = done.stderr.strip() or f"{argv[0]} ended with {done.code}"
        known = diagnosis.explain(told.splitlines())
        words = formatting.cut(told.splitlines()[-1].removeprefix(f"{argv[0]}: error: "), 200)
        problem = Problem(words) if known is None else Problem(f"{words}: {known.cause}", known.remedy)
        raise SlurmError(problem)
    return done.stdout
