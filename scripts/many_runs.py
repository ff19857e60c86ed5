"""Make many run folders that look real, to measure what reads them: `python scripts/many_runs.py LIKE OUTPUT`.

LIKE is the folder of a run that has ended. Each new run has its files but the trained ones, with a name, a start and
settings of its own, written as records are. One of twenty failed, one of twenty was stopped.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Setting
from sdxl_train_cli.records import history, record, runs
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.records.record import Outcome
from sdxl_train_cli.records.runs import Run

RATES = (5e-5, 1e-4, 2e-4, 4e-4)
DIMS = (8, 16, 32, 64)


def main() -> None:
    """Make them, and tell how long it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("like", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    options = parser.parse_args()
    began = time.monotonic()
    make(options.like, options.output, options.count)
    print(f"{options.count} runs in {options.output}, made in {time.monotonic() - began:.0f} s")


def make(like: Path, output: Path, count: int) -> None:
    """Write the runs."""
    entry = history.load(like)
    if entry.outcome is None or entry.record.inputs is None:
        raise SystemExit(f"{like} is no run that has ended")
    chance = random.Random(1)  # noqa: S311 - the same runs each time
    for number in range(count):
        _write(entry, entry.outcome, output, number, chance)


def _write(entry: Loaded, outcome: Outcome, output: Path, number: int, chance: random.Random) -> None:
    rate, dim = chance.choice(RATES), chance.choice(DIMS)
    name = f"cat-{rate:g}-dim{dim}-{number:05}"
    run = Run(output / name, name)
    run.folder.mkdir(parents=True)
    began = entry.record.started and entry.record.started + timedelta(minutes=number)
    settings = {**entry.record.settings}
    settings |= {option: Setting(value=value, origin=Origin("--set")) for option, value in
                 (("learning_rate", rate), ("network_dim", dim))}  # fmt: skip
    inputs = entry.record.inputs and replace(entry.record.inputs, output=output)
    kept = entry.record.model_copy(update={"name": name, "started": began, "settings": settings, "inputs": inputs})
    run.record.write_text(kept.model_dump_json(indent=1, exclude_unset=True) + "\n", encoding="utf-8")
    state = chance.choices(("done", "failed", "stopped"), (18, 1, 1))[0]
    loss = round(chance.uniform(0.05, 0.2), 4)
    runs.write_outcome(run, outcome.model_copy(update={"outcome": state, "loss": loss}))
    for each in (record.METRICS, record.LOG, record.DATASET, record.LOCK):
        if (entry.folder / each).is_file():
            (run.folder / each).write_bytes((entry.folder / each).read_bytes())


if __name__ == "__main__":
    main()
