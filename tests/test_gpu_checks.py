"""The checks for a real GPU, without one: the stand-in shows the way, and what needs a GPU is skipped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from patience import lives, until

from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.layout import Home
from sdxl_train_cli.run.smoke import SmokeMaterial

SCRIPT = Path(__file__).parents[1] / "scripts" / "gpu_checks.py"
sys.path.insert(0, str(SCRIPT.parent))

import gpu_checks  # noqa: E402 - scripts are run by path
from gpu_checks import Bench, Check, CheckFailedError, Command  # noqa: E402 - the same


def check(
    folder: Path, home: Path, *names: str, fault: str = "", minutes: str = "10"
) -> subprocess.CompletedProcess[str]:
    only = [word for name in names for word in ("--only", name)]
    argv = [sys.executable, str(SCRIPT), "--home", str(home), "--output", "out", "--minutes", minutes, *only]
    variables = {**os.environ, "STANDIN_STEP_SECONDS": "0.1", "STANDIN_FAIL": fault}
    return subprocess.run(argv, cwd=folder, env=variables, capture_output=True, encoding="utf-8", check=False)


@pytest.mark.usefixtures("installed")
def test_without_a_gpu_the_way_is_walked_and_what_needs_one_is_skipped(tmp_path: Path, home: Path) -> None:
    done = check(tmp_path, home, "killed", "refusal", "oom-step-down", "fp8")
    lines = (tmp_path / "out" / "results.jsonl").read_text(encoding="utf-8").splitlines()
    results = {line["check"]: line["result"] for line in map(json.loads, lines)}

    assert done.returncode == 0, done.stdout + done.stderr
    assert results == {"killed": "passed", "refusal": "passed", "oom-step-down": "skipped", "fp8": "skipped"}
    assert "| killed | passed |" in done.stdout
    assert "$ sdxl-train lora" in (tmp_path / "out" / "killed.txt").read_text(encoding="utf-8")


@pytest.mark.usefixtures("installed")
def test_a_check_that_fails_ends_with_1_and_says_what_was_seen(tmp_path: Path, home: Path) -> None:
    done = check(tmp_path, home, "killed", fault="crash@1")

    assert done.returncode == 1
    assert "FAILED   killed: did not come to step 3:" in done.stderr


@pytest.mark.usefixtures("installed")
def test_a_check_that_was_not_begun_in_time_is_none_that_passed(tmp_path: Path, home: Path) -> None:
    done = check(tmp_path, home, "refusal", minutes="0")

    assert done.returncode == 1
    assert "| refusal | not begun |" in done.stdout


@pytest.fixture
def bench(installed: Environment, home: Path, model: Path, pictures: Path, tmp_path: Path) -> Bench:
    material = SmokeMaterial(model, tmp_path, pictures)
    return Bench(Home(home), installed, None, material, tmp_path, tmp_path)


def test_a_check_that_fails_leaves_none_of_its_processes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_STEP_SECONDS", "0.1")
    seen: list[psutil.Process] = []

    def fail(bench: Bench, name: str) -> str:
        run = Command(bench, name, "lora", *bench.data, "--name", name, "--steps", "4000", "--json")
        run.until_step(2)
        seen.extend([psutil.Process(run.child.pid), *run.processes()])
        raise CheckFailedError("as it happens")

    result = gpu_checks.run_check(Check("lost", "", fail, 0), bench, bench.folder, time.monotonic() + 60)

    assert result["result"] == gpu_checks.FAILED
    assert len(seen) > 1
    until(lambda: not any(lives(process.pid) for process in seen))


def test_all_processes_of_a_run_are_seen_and_none_is_no_proof(bench: Bench) -> None:
    run = Command(bench, "short", "lora", *bench.data, "--name", "short", "--steps", "4")

    trainer = run.all_processes()

    run.wait(0)
    assert "processes gone" in gpu_checks.require_gone(bench, trainer)
    with pytest.raises(CheckFailedError, match="no process"):
        gpu_checks.require_gone(bench, [])


def test_all_checks_are_listed_with_what_they_show() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--list"], capture_output=True, encoding="utf-8", check=True)

    assert len(done.stdout.splitlines()) == 12
    assert "oom-step-down" in done.stdout
