"""The resumed trainer's count: put right where the source has the known shape, refused where it has another."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import sdxl_train_cli

SCRIPT = Path(sdxl_train_cli.__file__).with_name("inside") / "resumed.py"
# A trainer that only counts: the assignments have the shapes of the real one's, the rest is its bare bones.
TRAINER = """
import math

def train(args, train_dataloader):
    initial_step = args.initial_step
    epoch_to_start = 0
    if initial_step > 0:
        if args.skip:
            initial_step *= args.gradient_accumulation_steps
            epoch_to_start = initial_step // math.ceil(len(train_dataloader) / args.gradient_accumulation_steps)
        else:
            epoch_to_start = initial_step // math.ceil(len(train_dataloader) / args.gradient_accumulation_steps)
            initial_step = 0
    global_step = 0
    if initial_step > 0:
        for epoch in range(epoch_to_start):
            initial_step -= len(train_dataloader)
        global_step = initial_step
    skipped = initial_step
    while initial_step > 0:
        initial_step -= 1
    return global_step, epoch_to_start, skipped
"""
RUN = """
import json, sys, types
from train_network import train
step, parts, batches = map(int, sys.argv[1:])
args = types.SimpleNamespace(initial_step=step, gradient_accumulation_steps=parts, skip=True)
print(json.dumps(train(args, range(batches))))
"""


def resumed(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(argv, cwd=folder, capture_output=True, encoding="utf-8", check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "train_network.py").write_text(TRAINER, encoding="utf-8")
    (tmp_path / "run.py").write_text(RUN, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("step", "parts", "batches", "expected"),
    [
        # step, epoch to start in from 0, batches of it to skip
        (5, 1, 6, (5, 0, 5)),
        (6, 1, 6, (6, 1, 0)),
        (8, 1, 6, (8, 1, 2)),
        (24, 1, 6, (24, 4, 0)),
        (4, 2, 6, (4, 1, 2)),
        (6, 2, 6, (6, 2, 0)),
        (7, 4, 6, (7, 3, 4)),
    ],
)
def test_it_counts_on_in_the_right_epoch(
    checkout: Path, step: int, parts: int, batches: int, expected: tuple[int, int, int]
) -> None:
    done = resumed(checkout, "--from", step, "run.py", step, parts, batches)

    assert done.returncode == 0, done.stderr
    assert tuple(json.loads(done.stdout)) == expected


def test_left_alone_it_counts_wrong(checkout: Path) -> None:
    """What the whole script is for: without it, the state at 8 of an epoch of 6 goes on as step 2."""
    argv = [sys.executable, "run.py", "8", "1", "6"]
    done = subprocess.run(argv, cwd=checkout, capture_output=True, encoding="utf-8", check=True)

    assert json.loads(done.stdout) == [2, 1, 2]


def test_the_file_on_disk_stays_as_it_is_and_nothing_is_cached(checkout: Path) -> None:
    resumed(checkout, "--from", 3, "run.py", 3, 1, 6)

    assert (checkout / "train_network.py").read_text(encoding="utf-8") == TRAINER
    assert not list(checkout.rglob("*.pyc"))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("global_step = initial_step", "global_step = other", "global_step = initial_step"),
        ("initial_step -= len(train_dataloader)", "pass", "initial_step -= len(...)"),
        ("def train(", "def fit(", "0 functions named train"),
    ],
)
def test_another_shape_is_refused_with_what_is_missing(checkout: Path, old: str, new: str, named: str) -> None:
    (checkout / "train_network.py").write_text(TRAINER.replace(old, new), encoding="utf-8")

    told = json.loads(resumed(checkout, "--check").stdout)
    done = resumed(checkout, "--from", 3, "run.py", 3, 1, 6)

    assert told["resumable"] is False
    assert named in told["reason"]
    assert done.returncode == 87
    assert named in done.stderr


def test_a_trainer_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert json.loads(resumed(tmp_path, "--check").stdout)["resumable"] is False


def test_the_known_shape_is_found(checkout: Path) -> None:
    assert json.loads(resumed(checkout, "--check").stdout) == {"resumable": True, "reason": None}


def test_it_imports_the_standard_library_alone() -> None:
    names = {node.module or "" for node in ast.walk(ast.parse(SCRIPT.read_text())) if isinstance(node, ast.ImportFrom)}

    assert {name.partition(".")[0] for name in names} <= {"__future__", "collections", "pathlib", "types"}


@pytest.mark.parametrize("arguments", [[], ["--from"], ["--from", "x", "run.py"], ["run.py"]])
def test_other_arguments_are_refused(checkout: Path, arguments: list[str]) -> None:
    assert resumed(checkout, *arguments).returncode == 2
