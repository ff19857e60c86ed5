"""What inside/observed.py notes of a training script, with a torch and an accelerate of a few lines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parents[2] / "sdxl_train_cli" / "inside" / "observed.py"
TORCH = """
class cuda:
    is_available = staticmethod(lambda: False)
__version__ = "9"
"""
ACCELERATE = """
class Accelerator:
    def prepare(self, *models):
        return models
    def backward(self, loss):
        print("backward", loss)
"""
TRAINER = """
import sys
from accelerate import Accelerator
class Loss(float):
    def detach(self):
        return self
for loss in sys.argv[1:]:
    if loss == "crash":
        raise RuntimeError("the trainer failed")
    Accelerator().backward(Loss(loss))
"""


TORCH_WITH_GPU = """
class cuda:
    peak = 0
    is_available = staticmethod(lambda: True)
    get_device_name = staticmethod(lambda: "a GPU")
    max_memory_allocated = staticmethod(lambda: cuda.peak)
    max_memory_reserved = staticmethod(lambda: cuda.peak + 1)
    def reset_peak_memory_stats():
        cuda.peak = 0
__version__ = "9"
"""
STAGES = """
import torch
from accelerate import Accelerator
class Loss(float):
    def detach(self):
        return self
torch.cuda.peak = 50
Accelerator().prepare("the U-Net")
torch.cuda.peak = 40
Accelerator().prepare("the network")
Accelerator().backward(Loss(0.5))
torch.cuda.peak = 45
"""


def observed(
    folder: Path, *losses: str, options: tuple[str, ...] = (), torch: str = TORCH
) -> subprocess.CompletedProcess[str]:
    for name, text in (("torch.py", torch), ("accelerate.py", ACCELERATE), ("trainer.py", TRAINER)):
        (folder / name).write_text(text, encoding="utf-8")
    argv = [sys.executable, str(SCRIPT), *options, "report.json", "trainer.py", *losses]
    return subprocess.run(argv, cwd=folder, capture_output=True, encoding="utf-8", check=False, timeout=60)


def report(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return facts


def test_each_loss_is_noted_and_the_time_from_one_to_the_next(tmp_path: Path) -> None:
    done = observed(tmp_path, "0.5", "0.25", "0.125")

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["backward 0.5", "backward 0.25", "backward 0.125"]
    facts = report(tmp_path)
    assert facts["losses"] == [0.5, 0.25, 0.125]
    assert len(facts["seconds"]) == 2
    assert (facts["device"], facts["before"], facts["training"], facts["operations"]) == (None, None, None, None)


def test_each_stage_has_a_peak_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "stages.py").write_text(STAGES, encoding="utf-8")
    observed(tmp_path, torch=TORCH_WITH_GPU)
    argv = [sys.executable, str(SCRIPT), "report.json", "stages.py"]
    subprocess.run(argv, cwd=tmp_path, capture_output=True, check=True, timeout=60)

    facts = report(tmp_path)
    assert facts["loading"] == {"allocated": 50, "reserved": 51}
    assert facts["before"] == {"allocated": 50, "reserved": 51}, "the caches took more than the first forward pass"
    assert facts["training"] == {"allocated": 45, "reserved": 46}


def test_a_script_that_fails_leaves_what_was_seen_until_then(tmp_path: Path) -> None:
    done = observed(tmp_path, "0.5", "crash")

    assert done.returncode == 1
    assert "the trainer failed" in done.stderr
    assert report(tmp_path)["losses"] == [0.5]


def test_it_waits_for_its_turn(tmp_path: Path) -> None:
    (tmp_path / "turn").touch()

    assert observed(tmp_path, "0.5", options=("--wait", "turn")).returncode == 0


def test_without_a_script_it_says_how_it_is_called(tmp_path: Path) -> None:
    argv = [sys.executable, str(SCRIPT), "report.json"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False, timeout=60)

    assert done.returncode == 2
    assert "no SCRIPT is named" in done.stderr
