"""Thousands of calls of the real command line on hostile input; every fiftieth is a process of its own."""

from __future__ import annotations

import os
import random
import shlex
import shutil
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from attacks import calls, inputs, judge, world
from attacks.attempt import CALLS, Attempt
from attacks.tally import Problem, Tally
from attacks.world import World

if TYPE_CHECKING:
    from attacks.plan import AttackOptions

REAL_EVERY = 10
"""Inputs whose first call is a process of its own."""


def attack(made: World, tally: Tally, options: AttackOptions, count: int) -> None:
    """Share the attempts among a few workers, each of which forks for each call."""
    calls.preload()
    sys.stdout.flush()
    workers = {}
    for number in range(options.workers):
        told = made.folder / f"fuzz-{number}.json"
        pid = os.fork()
        if pid == 0:
            seeds = range(options.seed + number, options.seed + max(1, count // CALLS), options.workers)
            _work(made, Tally(tally.kind, tally.keep), seeds, told)
        workers[pid] = told
    for pid, told in workers.items():
        os.waitpid(pid, 0)
        if not told.exists():
            sys.exit("a worker of the fuzzer has died")
        tally.add(Tally.loaded(told.read_text(encoding="utf-8")))


def _work(made: World, tally: Tally, seeds: range, told: Path) -> None:
    code = 1
    try:
        largest: dict[str, float] = {"s": 0.0, "MiB": 0.0}
        for seed in seeds:
            for called in _attempt(made, tally, seed):
                largest = {"s": max(largest["s"], called.cpu_seconds), "MiB": max(largest["MiB"], called.peak_mib)}
        tally.notes.append(f"slowest {largest['s']:.1f} s, most memory {largest['MiB']:.0f} MiB")
        told.write_text(tally.dumped(), encoding="utf-8")
        code = 0
    except BaseException:  # noqa: BLE001 - a worker must not go on as the parent
        traceback.print_exc()
    finally:
        os._exit(code)


def _attempt(made: World, tally: Tally, seed: int) -> Iterator[calls.Called]:
    folder = made.folder / "fuzz" / str(os.getpid()) / "here"
    shutil.rmtree(folder, ignore_errors=True)
    attempt = Attempt(folder, made, random.Random(seed))  # noqa: S311 - the same attempt for the same seed
    _furnish(made, folder)
    door = inputs.ORDER[seed % len(inputs.ORDER)]
    inputs.DOORS[door](attempt)
    mine = [
        *world.write_mine(folder),
        *world.write_mine(folder / "output"),
        *world.write_mine(folder / "data" / ".mine"),
    ]
    environ = {**made.environ(folder), **attempt.environ}
    for number, argv in enumerate(attempt.calls):
        before = judge.digest(folder / "data", folder / "model.safetensors", *mine)
        call = calls.run if seed % REAL_EVERY == 0 and number == 0 else calls.fork
        called = call(argv, folder, environ, made.logs)
        lost = [] if "--overwrite" in argv else judge.lost(before, f"{judge.command_of(argv)} {door}")
        line = shlex.join(word.encode("utf-8", "backslashreplace").decode()[:300] for word in argv)
        problems = [*judge.problems(called, door), *lost, *_executed(folder)]
        tally.judge(seed, f"{door}: sdxl-train {line}", problems, folder)
        yield called


def _furnish(made: World, folder: Path) -> None:
    """What a hostile value may name: pictures, a model, a run, a pipe and links."""
    folder.mkdir(parents=True)
    world.write_pictures(folder / "data")
    shutil.copy2(made.model, folder / "model.safetensors")
    shutil.copytree(made.run, folder / "output" / "other")
    os.mkfifo(folder / "fifo")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("nowhere")


def _executed(folder: Path) -> list[Problem]:
    return [Problem("a stranger's words were executed", str(path)) for path in folder.rglob("pwned")]
