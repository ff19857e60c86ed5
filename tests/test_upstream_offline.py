"""The real sd-scripts beside a torch that is there, set up and trained with where there is no network at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import bundled_pip
import pytest
import upstream_source

from sdxl_train_cli.environment import environment
from sdxl_train_cli.layout import Home

SOURCE = upstream_source.find()
ALONE = ("unshare", "--net")


def can_be_alone() -> bool:
    if shutil.which(ALONE[0]) is None:
        return False
    return subprocess.run([*ALONE, "true"], check=False, capture_output=True).returncode == 0


pytestmark = [
    pytest.mark.upstream,
    pytest.mark.slow,
    pytest.mark.skipif(SOURCE is None, reason="no source of sd-scripts: set SDXL_TRAIN_SOURCE to a clone"),
    pytest.mark.skipif(not can_be_alone(), reason="no network namespace can be made here"),
]


def alone(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a namespace without a network."""
    argv = [*ALONE, sys.executable, "-m", "sdxl_train_cli.cli", *arguments]
    variables = {**os.environ, "SDXL_TRAIN_HOME": str(folder / "home"), "SDXL_TRAIN_CONFIG": str(folder / "config")}
    return subprocess.run(argv, check=False, capture_output=True, encoding="utf-8", cwd=folder, env=variables)


def test_setup_beside_another_torch_without_a_network_makes_an_environment_that_trains(tmp_path: Path) -> None:
    other = environment.require(Home(upstream_source.home()))
    (tmp_path / "wheels").mkdir()
    shutil.copy(bundled_pip.wheel(), tmp_path / "wheels")
    asked = ("--torch", "existing", "--python", str(other.python), "--wheels", "wheels", "--source", str(SOURCE))

    made = alone(tmp_path, "setup", *asked)
    again = alone(tmp_path, "setup")
    smoke = alone(tmp_path, "smoke")

    assert made.returncode == 0, made.stderr
    assert f"using torch {other.lock.packages['torch']} of {other.python}; nothing is written there" in made.stderr
    assert "fetching" not in again.stderr
    assert smoke.returncode == 0, smoke.stderr
    assert "LoRA: 722 U-Net modules" in smoke.stderr
    assert (tmp_path / "smoke-output" / "smoke-lora.safetensors").is_file()
