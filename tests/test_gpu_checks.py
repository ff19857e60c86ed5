"""The checks for a real GPU, without one: the stand-in shows the way, and what needs a GPU is skipped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "gpu_checks.py"


def check(folder: Path, home: Path, *names: str, fault: str = "") -> subprocess.CompletedProcess[str]:
    only = [word for name in names for word in ("--only", name)]
    argv = [sys.executable, str(SCRIPT), "--home", str(home), "--output", "out", *only]
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


def test_all_checks_are_listed_with_what_they_show() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--list"], capture_output=True, encoding="utf-8", check=True)

    assert len(done.stdout.splitlines()) == 11
    assert "oom-step-down" in done.stdout
