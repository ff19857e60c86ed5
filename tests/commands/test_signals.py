"""A signal to any of a run's four processes: the record says what happened, nothing lives on, no whole file is lost."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import psutil
import pytest
from conftest import Cli, Running
from patience import processes_with, until

from sdxl_train_cli import process
from sdxl_train_cli.sdscripts import checkpoint

pytestmark = pytest.mark.skipif(process.WINDOWS, reason="sends POSIX signals")
ALL = int(os.environ.get("SDXL_TRAIN_TEST_KILLS", "0")) >= 64
"""A longer proof is asked for by hand."""
PROCESSES = ("cli", "guard", "launcher", "trainer")
SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")
MOMENTS = {"start": "run: ", "step": "step 2 of 4", "late": "step 3 of 4", "end": "step 4 of 4"}
"""What has been told by then; at the end, the result is being saved."""
FEW = [
    *product(PROCESSES, ("SIGKILL", "SIGTERM"), ("step",)),
    ("launcher", "SIGINT", "start"),
    *product(("guard", "launcher"), ("SIGKILL",), ("end",)),
]


def found(running: Running, output: Path) -> dict[str, int]:
    """The four processes by what they are."""
    pids = {"cli": running.process.pid}
    for pid in processes_with(str(output)):
        try:
            line = " ".join(psutil.Process(pid).cmdline())
        except psutil.Error:
            continue
        if pid != running.process.pid and "sdxl_train_network.py" in line:
            pids["guard" if "guard.py" in line else "launcher" if "accelerate" in line else "trainer"] = pid
    return pids


def expected(name: str, signum: str, moment: str) -> Iterator[tuple[str, int]]:
    """How the run may be recorded, and its exit code."""
    number = int(getattr(signal, signum))
    if name == "cli":
        yield ("interrupted", -number) if signum == "SIGKILL" else ("stopped", 128 + number)
        if moment in {"late", "end"} and signum != "SIGKILL":
            yield "done", 0  # what is being saved is waited for
    elif name == "trainer":
        yield "failed", 7
    else:
        yield "done", 0


@pytest.mark.parametrize("case", list(product(PROCESSES, SIGNALS, MOMENTS)) if ALL else FEW, ids="-".join)
def test_a_signal_to_one_process_of_a_run_is_recorded_as_what_it_did(
    cli: Cli, tmp_path: Path, model: Path, pictures: Path, case: tuple[str, str, str]
) -> None:
    """Once, a run whose launcher alone was killed was recorded as failed beside its whole file."""
    name, signum, moment = case
    output = tmp_path / "output"
    line = ["--model", str(model), "--data", str(pictures), "--no-vram-check", "--name", "cat", "--steps", "4",
            "--set", "save_every_n_steps=2"]  # fmt: skip
    times = {"STANDIN_STEP_SECONDS": "0.4", "STANDIN_START_SECONDS": "0.4", "STANDIN_LAST_SAVE_SECONDS": "1.0"}
    with cli.start("lora", *line, **times) as running:
        running.until_told(MOMENTS[moment])
        pids = until(lambda: found(running, output) if len(found(running, output)) == 4 else None)
        assert pids is not None
        os.kill(pids[name], getattr(signal, signum))
        ended = running.end()
    until(lambda: not processes_with(str(output)))
    (listed,) = json.loads(cli("runs", "list", "--json").stdout)

    assert (listed["state"], ended.code) in set(expected(name, signum, moment)), ended.stderr
    result = output / "cat" / "cat.safetensors"
    assert result.exists() == (listed["state"] == "done")
    if listed["state"] == "done":
        assert checkpoint.read_header(result)
        assert listed["steps"] == 4
        assert "this run finished" in cli("runs", "explain", "cat").stdout
        assert "has already made all its 4 steps" in cli("runs", "resume", "cat", "--no-vram-check").stderr
