"""`sdxl-train doctor` on the real environment: whole, and damaged on purpose in a copy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import upstream_source

from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.layout import Home

SOURCE = upstream_source.find()

pytestmark = [
    pytest.mark.upstream,
    pytest.mark.skipif(SOURCE is None, reason="no source of sd-scripts: set SDXL_TRAIN_SOURCE to a clone"),
]


def doctor(home: Path, *arguments: str) -> tuple[int, dict[str, list[str]]]:
    """The exit code, and the statuses of each check. uv copies: a link would let a test spoil its cache."""
    argv = [sys.executable, "-m", "sdxl_train_cli.cli", "doctor", "--json", *arguments]
    variables = {**os.environ, "SDXL_TRAIN_HOME": str(home), "UV_LINK_MODE": "copy"}
    done = subprocess.run(argv, check=False, capture_output=True, encoding="utf-8", env=variables)
    found: dict[str, list[str]] = {}
    for row in json.loads(done.stdout):
        found.setdefault(row["check"], []).append(row["status"])
    return done.returncode, found


def test_a_whole_environment_passes_and_what_needs_a_gpu_is_left_out(tmp_path: Path) -> None:
    code, found = doctor(upstream_source.home(), "--output", str(tmp_path))

    assert code == 0
    for name in ("record", "checkout", "packages", "files", "torch", "trainer", "sdpa_bf16", "eight_bit", "vae_bf16"):
        assert found[name] == ["ok"], name
    assert found["triton"] in (["left out"], ["ok"])


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The environment in a home that the tests may damage: several GB."""
    home = tmp_path_factory.mktemp("doctor") / "home"
    shutil.copytree(upstream_source.home(), home, symlinks=True)
    return environment.require(Home(home))


def remove_package(made: Environment) -> None:
    (found,) = made.folder.glob("venv/[lL]ib/**/site-packages/imagesize-*.dist-info")
    shutil.rmtree(found)
    (found.parent / "imagesize.py").unlink(missing_ok=True)
    shutil.rmtree(found.parent / "imagesize", ignore_errors=True)


def fill_with_zeros(made: Environment) -> None:
    (found,) = made.folder.glob("venv/[lL]ib/**/site-packages/transformers/modeling_utils.py")
    found.write_bytes(bytes(found.stat().st_size))


def take_a_library(made: Environment) -> None:
    (found,) = made.folder.glob("venv/[lL]ib/**/site-packages/bitsandbytes/libbitsandbytes_cpu.*")
    found.unlink()


def empty_a_script(made: Environment) -> None:
    (made.checkout / "library" / "train_util.py").write_bytes(b"")


def crash_at_import(made: Environment) -> None:
    (found,) = made.folder.glob("venv/[lL]ib/**/site-packages/bitsandbytes/__init__.py")
    found.write_text("import os\nos.abort()\n", encoding="utf-8")


def install_another_numpy(made: Environment) -> None:
    import uv  # noqa: PLC0415 - the other tests need it not

    argv = [uv.find_uv_bin(), "pip", "install", "--python", str(made.python), "--no-deps", "--link-mode", "copy"]
    subprocess.run([*argv, "numpy==1.26.4"], check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "check", "status"),
    [
        (remove_package, "packages", "missing"),
        (install_another_numpy, "packages", "changed"),
        (fill_with_zeros, "files", "broken"),
        (take_a_library, "files", "missing"),
        (empty_a_script, "checkout", "broken"),
        (crash_at_import, "bitsandbytes", "broken"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_each_fault_made_on_purpose_is_named_and_mended(
    copied: Environment, spoil: object, check: str, status: str
) -> None:
    assert callable(spoil)
    spoil(copied)
    home = copied.folder.parents[1]
    code, found = doctor(home)
    mended, after = doctor(home, "--fix")

    assert status in found[check]
    assert code == (0 if status == "changed" else 5)
    assert mended == 0
    assert {name: told for name, told in after.items() if {"missing", "broken", "changed"} & set(told)}.keys() <= {
        "tokenizers", "memory", "swap",
    }  # fmt: skip
