"""The kinds of attack, their numbers of attempts, and the final table."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from attacks import clock, disks, fuzz, kills, logs, output, strangers, world
from attacks.tally import Tally
from attacks.world import World


@dataclass(frozen=True)
class AttackOptions:
    """Options from the command line."""

    kinds: tuple[str, ...]
    seed: int
    count: int | None
    is_short: bool
    is_real: bool
    workers: int
    keep: Path


@dataclass(frozen=True)
class Kind:
    """One kind of attack."""

    attack: Callable[[World, Tally, AttackOptions, int], None]
    usual: int
    """Default number of attempts."""
    short: int


KINDS = {
    "setup-kills": Kind(kills.setup, 25, 1),
    "signals": Kind(kills.signals, 64, 2),
    "clock": Kind(clock.attack, 8, 1),
    "disks": Kind(disks.attack, 80, 5),
    "output": Kind(output.attack, len(output.SHAPES), 2),
    "logs": Kind(logs.attack, len(logs.SHAPES), 3),
    "strangers": Kind(strangers.attack, len(strangers.ATTACKS), 6),
    "fuzz": Kind(fuzz.attack, 5000, 60),
}


def carry_out(options: AttackOptions, folder: Path) -> int:
    """Run the attacks, print the results, and return the exit code."""
    if sys.platform == "win32":
        print("skipped: all of it forks, and sends signals, which Windows does not have")
        return 0
    print("making a world with the stand-in trainer", flush=True)
    made = world.create(folder / "world")
    tallies = []
    for name in options.kinds:
        kind = KINDS[name]
        count = options.count or (kind.short if options.is_short else kind.usual)
        print(f"{name}: {count} attempts", flush=True)
        tally = Tally(name, options.keep)
        began = time.monotonic()
        kind.attack(made, tally, options, count)
        tally.notes.append(f"{time.monotonic() - began:.0f} s")
        tallies.append(tally)
    _print_table(tallies)
    return int(any(tally.faults for tally in tallies))


def _print_table(tallies: list[Tally]) -> None:
    print(f"\n{'kind':<12} {'attempts':>8} {'survived':>8} {'faults':>6}  notes")
    for tally in tallies:
        told = "; ".join([*tally.notes, *(f"skipped: {reason}" for reason in tally.skipped)])
        print(f"{tally.kind:<12} {tally.attempts:>8} {tally.survivors:>8} {len(tally.faults):>6}  {told}")
    for tally in tallies:
        for fault in sorted(tally.faults.values(), key=lambda fault: -fault.count):
            print(f"\n{tally.kind}: {fault.count} x {fault.key}\n  {fault.words}\n  seed {fault.seed}: {fault.call}")
            if fault.kept:
                print(f"  kept: {fault.kept}")
    total, survived = (sum(getattr(tally, name) for tally in tallies) for name in ("attempts", "survivors"))
    print(f"\n{survived} of {total} attempts survived", flush=True)
