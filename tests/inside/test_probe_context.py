"""How inside/probe_context.py measures a context: real processes, and a driver that is a file."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from sdxl_train_cli.environment.environment import INSIDE

SCRIPT = INSIDE / "probe_context.py"
MIB = 2**20
HOLDER = """
import pathlib, sys
free, taken, left, reserved = pathlib.Path("free"), int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
before = int(free.read_text())
free.write_text(str(before - taken))
print(reserved, flush=True)
sys.stdin.read()
free.write_text(str(before - left))
"""
TORCH = """
import os
class cuda:
    is_available = staticmethod(lambda: True)
    device_count = staticmethod(lambda: 1)
    get_device_name = staticmethod(lambda index: "a GPU")
    mem_get_info = staticmethod(lambda index: (int(open("free").read()), 0))
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("probe_context", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    monkeypatch.chdir(tmp_path)
    Path("free").write_text(str(8000 * MIB))
    Path("holder.py").write_text(HOLDER)
    return lambda: int(Path("free").read_text())


def holder(taken: int, left: int = 0, reserved: int | str = 40 * MIB) -> list[str]:
    return [sys.executable, "holder.py", str(taken), str(left), str(reserved)]


def test_the_context_is_what_a_second_process_takes_beside_what_pytorch_reserves(
    script: ModuleType, free: Callable[[], int]
) -> None:
    assert script.context_bytes(free, holder(taken=500 * MIB)) == 460 * MIB
    assert free() == 8000 * MIB, "it has ended"


def test_a_gpu_that_others_use_meanwhile_is_not_measured(script: ModuleType, free: Callable[[], int]) -> None:
    assert script.context_bytes(free, holder(taken=500 * MIB, left=100 * MIB)) is None
    assert script.context_bytes(free, holder(taken=500 * MIB, left=20 * MIB)) == 460 * MIB, "a window was drawn"


def test_a_second_process_that_fails_leaves_the_context_unknown(script: ModuleType, free: Callable[[], int]) -> None:
    assert script.context_bytes(free, holder(taken=0, reserved="out of memory")) is None
    assert script.context_bytes(free, [sys.executable, "-c", "raise SystemExit(1)"]) is None


def asked(folder: Path) -> object:
    argv = [sys.executable, str(SCRIPT)]
    done = subprocess.run(argv, cwd=folder, capture_output=True, encoding="utf-8", check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_without_a_gpu_there_is_no_context(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("class cuda:\n    is_available = staticmethod(lambda: False)\n")

    assert asked(tmp_path) == {"contexts_gib": {}}


def test_a_gpu_on_which_nothing_can_be_trained_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text(TORCH)
    (tmp_path / "free").write_text("1000")

    assert asked(tmp_path) == {"contexts_gib": {}}, "this torch has no layers"
