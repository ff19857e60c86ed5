"""A trainer that floods, babbles and swears: the run is watched to its end in flat memory, and recorded as it was."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from attacks import judge
from attacks.hostile_trainer import SHAPES
from attacks.tally import Problem, Tally
from attacks.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from attacks.calls import Called
    from attacks.plan import AttackOptions

MOST_MIB = 100
"""Of the supervisor, whatever the trainer prints."""
MOST_CPU_SECONDS = 15.0
STEPS = 6


def attack(world: World, tally: Tally, options: AttackOptions, count: int) -> None:
    """One run for each shape."""
    shapes = list(SHAPES)
    usual = _peak(world, "")
    tally.note(f"a quiet run takes {usual:.0f} MiB")
    for number in range(count):
        seed = options.seed + number
        shape = shapes[(seed - 1) % len(shapes)]
        with tempfile.TemporaryDirectory(dir=world.folder) as place:
            folder = Path(place)
            argv = world.training("loud", STEPS, folder, save_every=2)
            called = world.call(*argv, ATTACK_OUTPUT=shape, ATTACK_FLOOD_SECONDS="2" if options.is_short else "5")
            (folder / "loud" / "train.log").unlink(missing_ok=True)  # a flood of gigabytes is not worth keeping
            tally.judge(seed, f"ATTACK_OUTPUT={shape} {' '.join(argv)}", _problems(shape, folder, called), folder)


def _peak(world: World, shape: str) -> float:
    with tempfile.TemporaryDirectory(dir=world.folder) as place:
        return world.call(*world.training("loud", STEPS, Path(place)), ATTACK_OUTPUT=shape).peak_mib


def _problems(shape: str, output: Path, called: Called) -> Iterator[Problem]:
    yield from (one for one in judge.problems(called, shape) if not one.key.startswith("slow"))
    if called.peak_mib > MOST_MIB:
        yield Problem(f"supervisor's memory: {shape}", f"{called.peak_mib:.0f} MiB")
    if called.cpu_seconds > MOST_CPU_SECONDS:
        yield Problem(f"supervisor's time: {shape}", f"{called.cpu_seconds:.0f} s of the processor")
    run = output / "loud"
    try:
        outcome = json.loads((run / "outcome.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        yield Problem(f"no record of the end: {shape}", str(error))
        return
    if (called.code, outcome["outcome"], outcome["steps"]) != (0, "done", STEPS):
        told = f"exit code {called.code}, {outcome['outcome']} at step {outcome['steps']} of {STEPS}: "
        yield Problem(f"wrong state: {shape}", told + called.told.strip()[-200:])
    for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        if json.loads(line)["step"] > STEPS:
            yield Problem(f"a step that was never made: {shape}", line[:200])
            break
