"""What is built holds all that the product reads, and works from there."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import variables

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sdxl_train_cli"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("built")
    argv = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(argv, cwd=ROOT, check=True, capture_output=True)
    return folder


def read_files() -> set[str]:
    """All that the package reads and does not import, as a checkout has it."""
    paths = (path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix() for path in paths if path.suffix != ".py"}


def test_wheel_and_sdist_hold_every_data_file(built: Path) -> None:
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        assert read_files() <= set(archive.namelist())
    with tarfile.open(sdist) as archive:
        assert read_files() <= {name.partition("/")[2] for name in archive.getnames()}


def test_what_is_unpacked_from_the_wheel_checks_presets_before_setup(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "unpacked")  # noqa: S202 - our own wheel
    (tmp_path / "lora").mkdir()
    preset = tmp_path / "lora" / "mine.yaml"
    preset.write_text("extends: dim32-gc\nnetwork_dims: 8\n", encoding="utf-8")
    environ = {**variables(tmp_path), "PYTHONPATH": str(tmp_path / "unpacked"), "PYTHONDONTWRITEBYTECODE": "1"}

    argv = [sys.executable, "-v", "-m", "sdxl_train_cli", "presets", "check", str(preset)]
    ran = subprocess.run(argv, env=environ, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)

    assert str(PACKAGE) not in ran.stderr
    assert ran.returncode == 3
    assert f"{preset}:2: sdxl_train_network.py has no option 'network_dims'" in ran.stderr
