"""A trainer that says far too much: who watches it keeps up, stays small, and tells a share of it."""

from __future__ import annotations

import os
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from sdxl_train_cli.process import Child
from sdxl_train_cli.records.runs import Run
from sdxl_train_cli.run.supervision import Conditions, Event, Supervision
from sdxl_train_cli.sdscripts import progress
from sdxl_train_cli.sdscripts.progress import TrainerNotice

LINES = 8_000
UNITS = {
    "bars": "steps:   1%|          | 1/100 [00:01<00:02,  1.00s/it, avr_loss=0.1]\r",
    "files": "saving checkpoint: {}.safetensors\n",
    "warnings": "NaN found in latents, replacing with zeros\n",
    "long lines": "9" * 4000 + "{}\n",
}


@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
def test_a_flood_is_watched_to_its_end(unit: str, tmp_path: Path) -> None:
    run = Run(tmp_path, "run")
    flood = f"import sys\nfor n in range({LINES}): sys.stdout.write({unit!r}.format(n))\nprint('\\nmodel saved.')"
    told: list[Event] = []

    tracemalloc.start()
    try:
        with (
            run.log.open("ab", buffering=0) as log,
            Child([sys.executable, "-c", flood]) as child,
            Supervision(run, Conditions(), os.getpid(), child.activity) as supervision,
        ):
            began = time.monotonic()
            for line in child.lines(log):
                told += supervision.hear(line) if line else ()
            seconds = time.monotonic() - began
            peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert supervision.finished
    assert len(told) <= 500 * (seconds + 2)
    assert sum(isinstance(event, TrainerNotice) for event in told) <= 1
    assert peak < 50 * 2**20
    assert run.log.stat().st_size >= LINES * (len(unit) - 2)


@pytest.mark.parametrize(
    "unit",
    ["9", "9%", " ", "val", "val_", "steps: ", "steps: 1%|", "saving checkpoint: ", "epoch 1/1 ",
     "total optimization steps ", "1%||", "avr_loss=", "loss=1", "9/", "f0", "|", "["],
)  # fmt: skip
def test_the_time_for_a_line_grows_with_its_length_and_not_with_its_square(unit: str) -> None:
    """Once, 64,000 digits took half a minute. Sixteen times the length may take 64 times as long, not 256."""

    def seconds(length: int) -> float:
        line = (unit * length)[:length]
        began = time.process_time()
        progress.parse(progress.split(line)[1])
        return time.process_time() - began

    short = min(seconds(40_000) for _ in range(3))
    assert min(seconds(640_000) for _ in range(3)) < 64 * max(short, 0.001)


@pytest.mark.parametrize(
    "line",
    [
        f"steps:   1%| | {'9' * 5000}/100 [00:01<00:02,  1.00s/it]",
        f"steps:   1%| | 1/100 [00:01<00:02,  {'9' * 5000}s/it]",
        f"steps:   1%| | 1/100 [{'9' * 5000}:01<{'9' * 5000}:02,  1.00s/it]",
        f"steps:   1%| | 1/100 [00:01<00:02,  0.{'0' * 400}1it/s, avr_loss={'9' * 5000}]",
        f"epoch {'9' * 5000}/{'9' * 5000}",
        f"total optimization steps / : {'9' * 5000}",
        f"{'9' * 5000}%| | {'9' * 5000}/{'9' * 5000} [",
        f"val_loss=-{'9' * 5000}e{'9' * 5000}",
    ],
)
def test_figures_of_absurd_length_are_none(line: str) -> None:
    """Python refuses to read a number of over 4,300 digits: once, that ended the run."""
    bar, words = progress.split(line)

    assert bar is None or (bar.step == 1 and bar.steps == 100)
    progress.parse(words)
