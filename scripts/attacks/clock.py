"""A clock that steps, and a container: a run that lives is known to live, is not deleted and not started twice."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

from attacks import calls, judge
from attacks.tally import Problem, Tally
from attacks.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from attacks.plan import AttackOptions


class Shift(NamedTuple):
    """One way in which another process sees other facts of the same run."""

    name: str
    through: tuple[str, ...]
    """What the command is started through; {stat} is a copy of /proc/stat whose boot is elsewhere."""
    seconds: int = 0


_STAT = ("unshare", "-m", "sh", "-c", 'mount --bind "$0" /proc/stat && exec "$@"', "{stat}")
SHIFTS = (
    Shift("the clock was set on by an hour", _STAT, 3600),
    Shift("a container with process numbers of its own", ("unshare", "--pid", "--fork", "--mount-proc")),
    Shift("the clock was set back by an hour", _STAT, -3600),
    Shift("the clock was set on by three seconds", _STAT, 3),
    Shift("the clock was set on by ten years", _STAT, 315_360_000),
    Shift("a time namespace that booted earlier", ("unshare", "--time", "--boottime", "100000", "--fork")),
    Shift("another host's name", ("unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$0" "$@"')),
    Shift("no shift at all", ()),
)
_REFUSED = {2, 3, 4, 5, 6, 7}


def attack(world: World, tally: Tally, options: AttackOptions, count: int) -> None:
    """Ask about a live run from where the clock says something else."""
    for number in range(count):
        seed = options.seed + number
        shift = SHIFTS[(seed - 1) % len(SHIFTS)]
        with tempfile.TemporaryDirectory(dir=world.folder) as place:
            through = _through(shift, Path(place))
            if through is None:
                tally.skip(f"{shift.name}: this system does not let us make it")
                continue
            output = Path(place) / "output"
            tally.judge(seed, f"{shift.name}: {' '.join(through)}", list(_problems(world, output, through)), output)


def _through(shift: Shift, folder: Path) -> tuple[str, ...] | None:
    """The words to start a command through, or None where the system refuses."""
    stat = folder / "stat"
    if Path("/proc/stat").exists():
        text = Path("/proc/stat").read_text(encoding="utf-8")
        shifted = re.sub(
            r"^btime (\d+)$", lambda found: f"btime {int(found[1]) + shift.seconds}", text, flags=re.MULTILINE
        )
        stat.write_text(shifted, encoding="utf-8")
    through = tuple(word.format(stat=stat) if word == "{stat}" else word for word in shift.through)
    if not through:
        return through
    if shutil.which(through[0]) is None:
        return None
    tried = subprocess.run([*through, "true"], check=False, capture_output=True)
    return through if tried.returncode == 0 else None


def _problems(world: World, output: Path, through: tuple[str, ...]) -> Iterator[Problem]:
    argv = [*world.training("live", 4000, output, save_every=5), "--save-state"]
    running = world.start(*argv, STANDIN_STEP_SECONDS="0.05")
    try:
        until = time.monotonic() + 60
        while not list(output.glob("live/*-state/train_state.json")) and time.monotonic() < until:
            time.sleep(0.05)
        yield from _asked(world, output, through)
        if running.is_over():
            yield Problem("the live run was ended", running.end().told[-300:])
        if not (output / "live" / "run.json").exists():
            yield Problem("the live run's folder was deleted", str(output / "live"))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.pid, signal.SIGKILL)
        running.end()
        while any(_uses(process, output) for process in psutil.process_iter()):
            time.sleep(0.1)


def _asked(world: World, output: Path, through: tuple[str, ...]) -> Iterator[Problem]:
    command = (*through, *calls.COMMAND)

    def call(*argv: str) -> calls.Called:
        return calls.run([*argv, "--output", str(output)], world.folder, world.environ(), world.logs, command)

    listed = call("runs", "list", "--json")
    yield from judge.problems(listed)
    states = [run["state"] for run in json.loads(listed.stdout or b"[]")]
    if states != ["running"]:
        yield Problem("runs list does not say that the run is running", f"it says {states}")
    before = len(_trainers(output))
    resumed = call("runs", "resume", "live", "--no-vram-check", "--steps", "5000", "--dry-run")
    if resumed.code not in _REFUSED:
        yield Problem("resume would start a second trainer", f"exit code {resumed.code}: {resumed.answer[:100]}")
    for flags in ([], ["--keep-result"]):
        removed = call("runs", "rm", "live", "--yes", *flags)
        yield from judge.problems(removed, " ".join(flags))
        if removed.code not in _REFUSED:
            words = f"exit code {removed.code}: {removed.answer[:100]}"
            yield Problem(f"runs rm {' '.join(flags)} deletes a live run", words)
    if len(_trainers(output)) > before:
        yield Problem("a second trainer was started", str(output))


def _trainers(output: Path) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if _uses(process, output)]


def _uses(process: psutil.Process, output: Path) -> bool:
    try:
        is_dead = process.status() == psutil.STATUS_ZOMBIE
        return not is_dead and any(str(output) in word for word in process.cmdline())
    except psutil.Error:
        return False
