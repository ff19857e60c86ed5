"""What watching a run costs beside the trainer."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
from conftest import Cli

SECONDS = float(os.environ.get("SDXL_TRAIN_TEST_COST_SECONDS", "6"))
"""How long it is looked at; a longer proof is asked for by hand."""


def test_who_watches_takes_under_a_hundredth_of_a_core_and_80_mb(cli: Cli, model: Path, pictures: Path) -> None:
    line = ["--model", str(model), "--data", str(pictures), "--no-vram-check", "--steps", "2000"]
    with cli.start("lora", *line, STANDIN_STEP_SECONDS="0.5") as running:
        running.until_told("training")
        time.sleep(2)  # until the start is over
        watcher = psutil.Process(running.process.pid)
        before, began = watcher.cpu_times(), time.monotonic()
        time.sleep(SECONDS)
        after, seconds = watcher.cpu_times(), time.monotonic() - began
        memory_mb = watcher.memory_info().rss / 2**20

    share = (after.user + after.system - before.user - before.system) / seconds
    print(f"{100 * share:.2f} % of a core over {seconds:.0f} s, {memory_mb:.0f} MB")  # noqa: T201 - the figure
    assert share < 0.01
    assert memory_mb < 80
