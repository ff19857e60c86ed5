"""The doctor's exercises, in a Python that has neither torch nor sd-scripts."""

from __future__ import annotations

import base64
import hashlib
import json
import runpy
import subprocess
import sys
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any

import pytest

from sdxl_train_cli import process

SCRIPT = Path(process.__file__).parent / "inside" / "doctor.py"


def ask(cwd: Path, *names: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, str(SCRIPT), *names], cwd=cwd, capture_output=True, text=True, check=True)
    answered: dict[str, Any] = json.loads(done.stdout)
    return answered


def test_without_torch_it_is_named_and_nothing_else_that_needs_it(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')", encoding="utf-8")
    told = ask(tmp_path, "torch", "eight_bit", "compiler")

    assert told["torch"] is None
    assert told["exercises"]["torch"]["error"] == "ImportError: no torch here"
    assert "eight_bit" not in told["exercises"]
    assert "compiler" in told["exercises"]
    assert told["packages"]["pytest"]["version"] == pytest.__version__


@pytest.mark.skipif(process.WINDOWS, reason="signals")
def test_an_exercise_that_crashes_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("import os; os.abort()", encoding="utf-8")
    told = ask(tmp_path, "torch", "sdpa_fp32", "compiler")["exercises"]

    assert told["torch"]["error"] == "ended by SIGABRT"
    assert set(told) == {"torch", "compiler"}


@pytest.mark.skipif(process.WINDOWS, reason="Windows finds a compiler elsewhere")
def test_a_machine_without_a_compiler_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert ask(tmp_path, "compiler")["exercises"]["compiler"]["error"] == "FileNotFoundError: no C compiler"


def test_an_unknown_exercise_is_misuse(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        ask(tmp_path, "nonsense")


def installed(folder: Path, **contents: bytes) -> PathDistribution:
    """A package of these files, as an installer leaves it."""
    rows = []
    for name, content in contents.items():
        path = folder / name.replace("__", ".")
        path.write_bytes(content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{path.name},sha256={digest},{len(content)}")
    (folder / "thing.dist-info").mkdir()
    rows += ["../../bin/thing,sha256=x,3", "thing.dist-info/RECORD,,"]
    (folder / "thing.dist-info" / "RECORD").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return PathDistribution(folder / "thing.dist-info")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (None, "missing"),
        (b"", "empty"),
        (bytes(9), "zeros"),
        (b"value = (", "broken"),
        (b"value = 2", "changed"),
    ],
)
def test_each_way_in_which_a_file_differs_has_its_name(tmp_path: Path, change: bytes | None, fault: str) -> None:
    package = installed(tmp_path, a__py=b"value = 1", b__py=b"same = 1")
    faults_of = runpy.run_path(str(SCRIPT))["faults_of"]
    assert list(faults_of(package, tmp_path)) == []

    if change is None:
        (tmp_path / "a.py").unlink()
    else:
        (tmp_path / "a.py").write_bytes(change)

    assert list(faults_of(package, tmp_path)) == [("a.py", fault)]


def test_a_library_of_another_size_is_broken(tmp_path: Path) -> None:
    package = installed(tmp_path, lib__so=bytes(range(256)) * 2048)
    faults_of = runpy.run_path(str(SCRIPT))["faults_of"]
    assert list(faults_of(package, tmp_path)) == []

    (tmp_path / "lib.so").write_bytes(bytes(range(256)) * 2000)

    assert list(faults_of(package, tmp_path)) == [("lib.so", "broken")]


def test_long_code_and_a_library_that_a_power_cut_has_filled_with_zeros_are_noticed(tmp_path: Path) -> None:
    length = 300_000
    package = installed(tmp_path, lib__so=b"\x7fELF" * (length // 4), code__py=b"#" * length, none__py=b"")
    faults_of = runpy.run_path(str(SCRIPT))["faults_of"]
    assert list(faults_of(package, tmp_path)) == []

    for name in ("lib.so", "code.py"):
        (tmp_path / name).write_bytes(bytes(length))

    assert list(faults_of(package, tmp_path)) == [("lib.so", "zeros"), ("code.py", "zeros")]
