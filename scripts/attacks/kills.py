"""kill -9 of a setup, and any signal to any of a run's processes, at random moments."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import struct
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from attacks import calls, judge, world
from attacks.tally import Problem, Tally
from attacks.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from attacks.plan import AttackOptions

MOST_SECONDS_LEFT = 15.0
"""How long a process may outlive the killed one: a guard gives the trainer ten seconds."""
STEPS, STEP_SECONDS = 60, "0.02"
PARTS = ("command", "guard", "launcher", "trainer")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGSEGV)
_REAL_SECONDS = 1800.0
_STOPS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
"""Signals on which the command stops with a message."""


def setup(made: World, tally: Tally, options: AttackOptions, count: int) -> None:
    """Kill setups into an empty home, and over an environment that is there."""
    source = os.environ.get("SDXL_TRAIN_SOURCE") if options.is_real else str(made.repository)
    if source is None:
        tally.skip("--real needs SDXL_TRAIN_SOURCE, a clone of sd-scripts")
        return
    setup = _Setup(made, source, is_real=options.is_real)
    slowest, usual = 0.0, setup.seconds()
    tally.note(f"a setup takes {usual:.1f} s")
    for number in range(count):
        seed = options.seed + number
        with tempfile.TemporaryDirectory(dir=made.folder) as place:
            home = Path(place) / "home"
            over = seed % 2 == 0 and not options.is_real
            if over:
                shutil.copytree(made.home, home, symlinks=True)
            mine = judge.digest(*world.write_mine(home if over else Path(place)))
            moment = random.Random(seed).uniform(0, usual)  # noqa: S311 - the same moments each time
            started = setup.start(home, "--recreate")
            time.sleep(moment)
            with contextlib.suppress(ProcessLookupError):
                os.kill(started.pid, signal.SIGKILL)
            started.end()
            left = _seconds_until_none(str(home))
            slowest = max(slowest, left)
            problems = [
                *_outlived(left, "the killed setup"),
                *setup.problems(home, was_there=over),
                *judge.lost(mine, "a killed setup"),
            ]
            told = f"kill -9 of setup after {moment:.2f} s, {'over another' if over else 'anew'}"
            tally.judge(seed, told, problems, None if options.is_real else home)
    tally.note(f"no process was left after {slowest:.1f} s")


def _outlived(seconds: float, what: str) -> Iterator[Problem]:
    if seconds > MOST_SECONDS_LEFT:
        yield Problem(f"a process outlives {what}", f"by {seconds:.1f} s")


class _Setup:
    """Setups of the stand-in, or with --real of sd-scripts and torch in the user's own environment."""

    def __init__(self, made: World, source: str, *, is_real: bool) -> None:
        self._made, self._source, self._is_real = made, source, is_real

    def _environ(self, home: Path) -> dict[str, str]:
        ours = {"SDXL_TRAIN_HOME": str(home), "SDXL_TRAIN_SOURCE": self._source}
        return {**os.environ, **ours} if self._is_real else self._made.environ(**ours)

    def start(self, home: Path, *flags: str) -> calls.Started:
        """Start a setup."""
        return calls.Started(["setup", *flags], self._made.folder, self._environ(home), self._made.logs)

    def seconds(self) -> float:
        """Duration of a setup with the installer's cache filled."""
        for _ in range(2 if self._is_real else 1):
            with tempfile.TemporaryDirectory(dir=self._made.folder) as place:
                taken = self.start(Path(place) / "home").end(_REAL_SECONDS).wall_seconds
        return taken

    def problems(self, home: Path, *, was_there: bool) -> Iterator[Problem]:
        """Either a current environment remains or none. The next setup creates exactly one."""
        if was_there:
            yield from self._used(home, "the environment before is gone")
        again = self.start(home).end(_REAL_SECONDS)
        yield from (one for one in judge.problems(again, "after a kill") if not self._is_real or "slow" not in one.key)
        if again.code != 0:
            yield Problem("the next setup fails", again.told[-300:])
            return
        folders = [path.name for path in (home / "environments").iterdir() if path.is_dir()]
        current = (home / "current").read_text(encoding="utf-8").strip()
        if folders != [current]:
            yield Problem("more lies there than the environment that counts", f"{folders}, and {current} counts")
        world.write_tokenizers(home)
        yield from self._used(home, "what the next setup has made does not work")

    def _used(self, home: Path, what: str) -> Iterator[Problem]:
        argv = [*self._made.training("cat", 6), "--dry-run"]
        used = calls.run(argv, self._made.folder, self._environ(home), self._made.logs)
        if used.code != 0:
            yield Problem(what, used.told[-300:])


def signals(made: World, tally: Tally, options: AttackOptions, count: int) -> None:
    """Send one signal to one of the four processes of a run."""
    tally.note(f"a run makes {STEPS} steps; {len(SIGNALS)} signals to {', '.join(PARTS)}")
    for number in range(count):
        seed = options.seed + number
        drawn = random.Random(seed)  # noqa: S311 - the same moments each time
        part, signum = PARTS[seed % len(PARTS)], drawn.choice(SIGNALS)
        moment = drawn.uniform(0, int(STEPS) * float(STEP_SECONDS) * 1.3)
        with tempfile.TemporaryDirectory(dir=made.folder) as place:
            output = Path(place)
            argv = [*made.training("cat", STEPS, output), "--save-state"]
            started = made.start(*argv, STANDIN_STEP_SECONDS=STEP_SECONDS, STANDIN_LAST_SAVE_SECONDS="0.4")
            while "run: " not in started.told and not started.is_over():
                time.sleep(0.01)
            time.sleep(moment)
            hit = _send(started.pid, part, signum)
            called = started.end(120)
            left = _seconds_until_none(str(output))
            told = f"{signum.name} to the {part} {moment:.2f} s after the start" + ("" if hit else " (gone already)")
            problems = _after_signal(made, output, called, part, signum if hit else None)
            tally.judge(seed, told, [*problems, *_outlived(left, "the run")], output)


def _send(pid: int, part: str, signum: signal.Signals) -> bool:
    """Send the signal. Returns whether the process still existed."""
    marks = {"guard": "guard.py", "launcher": "accelerate", "trainer": "sdxl_train_network.py"}
    try:
        command = psutil.Process(pid)
        if part == "command":
            command.send_signal(signum)
            return True
        children = command.children(recursive=True)
        lines = [(child, child.cmdline()) for child in children]
        mark = marks[part]
        found = [child for child, line in lines if any(mark in word for word in line)]
        is_inner = [child for child in found if part == "guard" or not _is_guard(child)]
        # The launcher's line names the trainer's script too: the trainer is the innermost.
        chosen = is_inner[-1] if part == "trainer" else is_inner[0]
        chosen.send_signal(signum)
    except (psutil.Error, IndexError):
        return False
    return True


def _is_guard(process: psutil.Process) -> bool:
    return any(word.endswith("guard.py") for word in process.cmdline())


def _after_signal(
    made: World, output: Path, called: calls.Called, part: str, signum: signal.Signals | None
) -> Iterator[Problem]:
    """Check that the record says what happened, and that all readers agree."""
    run, to = output / "cat", f"{signum.name if signum else 'nothing'} to the {part}"
    unheard = part == "command" and signum is not None and signum not in _STOPS
    if not unheard:
        yield from judge.problems(called, to)
    elif "Traceback" in called.told:
        yield Problem(f"traceback: {to}", called.told[-300:])
    for path in run.glob("*.json"):
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            yield Problem(f"a torn {path.name}", str(error))
    log = (run / "train.log").read_text(encoding="utf-8", errors="replace") if (run / "train.log").exists() else ""
    delivered = "model saved." in log and is_whole(run / "cat.safetensors")
    listed = json.loads(made.call("runs", "list", "--json", "--output", output).stdout or b"[]")
    state = listed[0]["state"] if listed else "absent"
    allowed = _allowed(called.code, delivered=delivered, unheard=unheard)
    if state not in allowed:
        what = "delivered" if delivered else "did not deliver"
        yield Problem(f"wrong state: {state} though the trainer {what}: {to}", f"exit code {called.code}, {state}")
    for path in run.glob("*.safetensors"):
        if not unheard and not is_whole(path):
            yield Problem("a torn checkpoint under a whole one's name", f"{path.name} after {to}")
    yield from _told_alike(made, run, state, delivered=delivered)


def _allowed(code: int, *, delivered: bool, unheard: bool) -> set[str]:
    if unheard:
        return {"interrupted", "done"} if delivered else {"interrupted"}
    if delivered:
        return {"done"} if code == 0 else set()
    return {7: {"failed"}, 129: {"stopped"}, 130: {"stopped"}, 143: {"stopped"}}.get(code, set())


def _told_alike(made: World, run: Path, state: str, *, delivered: bool) -> Iterator[Problem]:
    explained = made.call("runs", "explain", run)
    yield from judge.problems(explained, "after a signal")
    if delivered and "finished" not in explained.answer:
        yield Problem("explain does not know that the run finished", explained.answer[:200])
    resumed = made.call("runs", "resume", run, "--dry-run", "--no-vram-check")
    yield from judge.problems(resumed, "after a signal")
    if state == "done" and resumed.code == 0:
        yield Problem("resume would go on with a run that is done", resumed.answer[:200])


def is_whole(path: Path) -> bool:
    """Whether a safetensors file contains everything that its header names."""
    try:
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        facts = json.loads(content[8 : 8 + length])
        end = max(one["data_offsets"][1] for name, one in facts.items() if name != "__metadata__")
        return len(content) == 8 + length + int(end)
    except (OSError, ValueError, KeyError, struct.error):
        return False


def _seconds_until_none(words: str) -> float:
    """Seconds until no process has these words in its command line or current folder."""
    began = time.monotonic()
    while time.monotonic() - began < 2 * MOST_SECONDS_LEFT:
        if not any(is_of(process, words) for process in psutil.process_iter()):
            break
        time.sleep(0.05)
    return time.monotonic() - began


def is_of(process: psutil.Process, words: str) -> bool:
    """Whether the process lives and has these words there. Never this process itself."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
            return False
        if any(words in word for word in process.cmdline()):
            return True
        return words in process.cwd()
    except psutil.Error:
        return False
