"""The script that goes to a GPU machine: its folder, its venv, its clock."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import bundled_pip
import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "gpu_machine.py"
sys.path.insert(0, str(SCRIPT.parent))

import gpu_machine  # noqa: E402 - scripts are run by path
from gpu_machine import Machine  # noqa: E402 - the same


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    for name in ("kit", "work", "output"):
        (tmp_path / name).mkdir()
    return Machine(tmp_path / "kit", tmp_path / "work", tmp_path / "output", time.monotonic() + 60)


def test_a_wheel_of_bitsandbytes_keeps_the_libraries_of_the_processor_and_of_one_cuda(tmp_path: Path) -> None:
    wheel, record = tmp_path / "bitsandbytes-0.50.2-py3-none-any.whl", "bitsandbytes-0.50.2.dist-info/RECORD"
    libraries = [f"bitsandbytes/libbitsandbytes_{name}.so" for name in ("cpu", "cuda124", "cuda130", "rocm62", "xpu")]
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in libraries:
            archive.writestr(name, "library")
        archive.writestr(record, "".join(f"{name},sha256=x,7\n" for name in [*libraries, "bitsandbytes/__init__.py"]))

    gpu_machine.leave_one_cuda(wheel, "130")

    with zipfile.ZipFile(wheel) as archive:
        kept = [name for name in archive.namelist() if name.endswith(".so")]
        rows = archive.read(record).decode().splitlines()
    assert kept == [libraries[0], libraries[2]]
    assert [row.partition(",")[0] for row in rows] == [*kept, "bitsandbytes/__init__.py"]


def test_tokenizers_that_could_not_be_fetched_are_written_and_fetched_ones_stay(tmp_path: Path) -> None:
    fetched = tmp_path / "openai_clip-vit-large-patch14"
    fetched.mkdir()
    (fetched / "vocab.json").write_text("fetched", encoding="utf-8")

    gpu_machine.write_tokenizers(tmp_path)

    other = json.loads((tmp_path / "laion_CLIP-ViT-bigG-14-laion2B-39B-b160k" / "vocab.json").read_text("utf-8"))
    assert "<|endoftext|>" in other
    assert (fetched / "vocab.json").read_text(encoding="utf-8") == "fetched"


def test_a_command_that_takes_too_long_is_ended_and_what_it_said_is_kept(machine: Machine) -> None:
    code = "import time; print('began', flush=True); time.sleep(60)"
    began = time.monotonic()

    ended = gpu_machine.follow(machine, "slow", [sys.executable, "-c", code], 1.5)

    assert ended == 124
    assert time.monotonic() - began < 20
    assert "began" in (machine.output / "slow.txt").read_text(encoding="utf-8")
    assert "slow: exit code 124" in (machine.output / "run.txt").read_text(encoding="utf-8")


def test_without_a_wheel_of_pip_it_says_how_to_get_one(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_machine.make_command(machine) == 1
    assert "`gpu_machine.py pack`" in capsys.readouterr().out


def test_the_commands_venv_imports_the_repository_and_asks_the_folder_for_the_rest(machine: Machine) -> None:
    """Nothing lies in the folder but pip, so that pip names what it misses, if this Python has not all of it."""
    shutil.copy(bundled_pip.wheel(), machine.kit)

    code = gpu_machine.make_command(machine)

    said = (machine.output / "command.txt").read_text(encoding="utf-8")
    assert code == 0 or "No matching distribution found" in said
    asked = [str(machine.python), "-c", "import sdxl_train_cli; print(sdxl_train_cli.__file__)"]
    found = subprocess.run(asked, capture_output=True, encoding="utf-8", check=True).stdout
    assert Path(found.strip()).parents[1] == SCRIPT.parents[1]
