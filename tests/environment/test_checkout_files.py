"""sd-scripts' files are compared with their commit, and come back from it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from standin.build import make_repository

from sdxl_train_cli.environment import building, checkout_files, unpacked, upstream
from sdxl_train_cli.environment.doctor_answer import FileFaultKind
from sdxl_train_cli.environment.environment import Environment, EnvironmentFiles, SetupRequest
from sdxl_train_cli.layout import Home


@pytest.fixture(params=["clone", "plain files"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Environment:
    """An environment of its own, from a clone or from an unpacked archive."""
    source = make_repository(tmp_path / "source", tags=("v0.10.1",))
    if request.param == "plain files":
        unpacked.write(upstream.create(tmp_path / "checkout", str(source), "v0.10.1"), tmp_path / "plain")
        source = tmp_path / "plain"
    return building.create(Home(tmp_path / "home"), SetupRequest(source=str(source)), recreate=False, report=print)


def faults(made: Environment) -> dict[str, FileFaultKind]:
    state = checkout_files.compare(made.checkout, made.lock)
    assert state.unknown is None
    return {fault.file: fault.fault for fault in state.faults}


def damage(checkout: Path) -> dict[str, FileFaultKind]:
    """Spoil four files in four ways."""
    (checkout / "sdxl_train.py").write_bytes(b"")
    (checkout / "networks" / "lora.py").unlink()
    length = (checkout / "sdxl_train_network.py").stat().st_size
    (checkout / "sdxl_train_network.py").write_bytes(bytes(length))
    with (checkout / "requirements.txt").open("a", encoding="utf-8") as file:
        file.write("# mine\n")
    return {
        "networks/lora.py": FileFaultKind.MISSING,
        "requirements.txt": FileFaultKind.CHANGED,
        "sdxl_train.py": FileFaultKind.EMPTY,
        "sdxl_train_network.py": FileFaultKind.ZEROS,
    }


def test_a_fresh_checkout_is_whole(made: Environment) -> None:
    assert faults(made) == {}


def test_each_damaged_file_is_named_and_comes_back(made: Environment) -> None:
    spoiled = damage(made.checkout)
    assert {name.replace("\\", "/"): fault for name, fault in faults(made).items()} == spoiled

    checkout_files.restore(EnvironmentFiles(made.folder), made.lock, list(faults(made)))

    assert faults(made) == {}


def test_a_clone_that_is_broken_too_is_fetched_again(made: Environment) -> None:
    damage(made.checkout)
    names = list(faults(made))
    if (made.checkout / ".git").is_dir():
        shutil.rmtree(made.checkout / ".git" / "objects")
        assert checkout_files.compare(made.checkout, made.lock).unknown

    checkout_files.restore(EnvironmentFiles(made.folder), made.lock, names)

    assert all((made.checkout / name).stat().st_size for name in names)


def test_plain_files_whose_source_is_gone_are_not_judged(tmp_path: Path) -> None:
    source = make_repository(tmp_path / "source", tags=("v0.10.1",))
    unpacked.write(upstream.create(tmp_path / "checkout", str(source), "v0.10.1"), tmp_path / "plain")
    request = SetupRequest(source=str(tmp_path / "plain"))
    installed = building.create(Home(tmp_path / "home"), request, recreate=False, report=print)
    shutil.rmtree(tmp_path / "plain")

    assert "is not there any more" in str(checkout_files.compare(installed.checkout, installed.lock).unknown)
