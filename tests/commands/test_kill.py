"""kill -9 of the command at any moment: no trainer is left, the run is listed as interrupted, every record is whole."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
from conftest import Cli
from patience import processes_with, until

from sdxl_train_cli import process
from sdxl_train_cli.records import metrics
from sdxl_train_cli.sdscripts import states

KILLS = int(os.environ.get("SDXL_TRAIN_TEST_KILLS", "5"))
"""How often; a longer proof is asked for by hand."""


@pytest.mark.skipif(process.WINDOWS, reason="sends POSIX signals")
def test_a_kill_at_any_moment_leaves_whole_records_and_no_process(
    cli: Cli, tmp_path: Path, model: Path, pictures: Path
) -> None:
    line = ["--model", str(model), "--data", str(pictures), "--no-vram-check", "--name", "cat", "--steps", "200",
            "--set", "save_every_n_steps=5"]  # fmt: skip
    moment = random.Random(11)  # noqa: S311 - the same moments each time
    waits = []
    for _ in range(KILLS):
        with cli.start("lora", *line, STANDIN_STEP_SECONDS="0.01") as running:
            running.until_told("run: ")
            time.sleep(moment.uniform(0, 1.5))
            running.send(signal.SIGKILL)
            killed = time.monotonic()
            running.end()
        until(lambda: not processes_with(str(tmp_path / "output")))
        waits.append(time.monotonic() - killed)
        # What lies deeper, in a state's folder, the trainer itself writes: a torn one is no state to resume.
        for record in (tmp_path / "output").glob("*/*.json"):
            json.loads(record.read_text(encoding="utf-8"))
    print(f"{KILLS} kills, until no process was left: {max(waits):.2f} s at most")  # noqa: T201 - the figure
    assert max(waits) < 5

    listed = json.loads(cli("runs", "list", "--json").stdout)
    assert len(listed) == KILLS
    assert {run["state"] for run in listed} == {"interrupted"}
    for run in (tmp_path / "output").iterdir():
        for state in states.complete(run):
            json.loads((state.folder / "train_state.json").read_text(encoding="utf-8"))
        steps = [metric.step for metric in metrics.load(run / "metrics.jsonl")]
        assert steps == list(range(1, len(steps) + 1))


@pytest.mark.skipif(process.WINDOWS, reason="sends POSIX signals")
def test_a_run_whose_trainer_has_outlived_its_guard_and_its_command_is_resumed_only_once_that_has_ended(
    cli: Cli, tmp_path: Path, model: Path, pictures: Path
) -> None:
    line = ["--model", str(model), "--data", str(pictures), "--no-vram-check", "--name", "cat", "--steps", "12",
            "--set", "save_every_n_steps=3"]  # fmt: skip
    folder = tmp_path / "output" / "cat"
    with cli.start("lora", *line, STANDIN_FAIL="hang@7") as running:
        until(lambda: [state.step for state in states.complete(folder)] == [6])
        guard, *trainers = processes_with(str(folder))
        os.kill(guard, signal.SIGKILL)
        running.send(signal.SIGKILL)
        running.end()
    told = json.loads((folder / "running.json").read_text(encoding="utf-8"))
    assert told["marks"].startswith(f"{told['pid']}-")

    refused = [cli("runs", command, "cat", *more) for command, more in (("resume", ()), ("rm", ("--yes",)))]
    before = (folder / "run.json").read_bytes()

    pids = " ".join(map(str, trainers))
    for each in refused:
        first, second = each.stderr.splitlines()
        assert (each.code, first) == (2, "error: cat is running: its trainer has outlived the command that started it")
        assert second.split() == ["hint:", *f"to end it: kill {pids}".split()]
    for trainer in trainers:
        os.kill(trainer, signal.SIGTERM)
    until(lambda: not processes_with(str(folder)))
    assert (folder / "run.json").read_bytes() == before
    resumed = cli("runs", "resume", "cat")
    assert resumed.code == 0, resumed.stderr
    assert [step.step for step in metrics.load(folder / "metrics.jsonl")][-6:] == list(range(7, 13))
