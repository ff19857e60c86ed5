"""The notebook and the Dockerfile name commands and files that are there. Neither Colab nor Docker is asked."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pages
import pytest
from conftest import Result


def test_the_notebook_is_valid_and_holds_no_output() -> None:
    notebook = nbformat.read(pages.NOTEBOOK, as_version=4)

    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)


@pytest.mark.parametrize("commands", [pages.notebook_commands(), pages.docker_commands()], ids=["notebook", "docker"])
def test_every_command_and_flag_is_there(main: Callable[..., Result], commands: list[str]) -> None:
    assert len(commands) >= 2

    answers = {line: main(*shlex.split(line)[1:], "-h") for line in commands}

    assert {line: answer.stderr for line, answer in answers.items() if answer.code or answer.stderr} == {}


def test_the_notebook_sets_up_mounts_trains_resumes_and_downloads() -> None:
    text = pages.NOTEBOOK.read_text(encoding="utf-8")
    steps = (
        "setup --torch existing",
        "drive.mount",
        "dataset check",
        "sdxl-train lora",
        "runs resume",
        "files.download",
    )

    found = [text.index(step) for step in steps]
    assert found == sorted(found)


def test_what_goes_into_the_image_is_enough_to_build_the_package(tmp_path: Path) -> None:
    ignored = (pages.ROOT / ".dockerignore").read_text(encoding="utf-8")
    for name in re.findall(r"^!(.+)$", ignored, re.MULTILINE):
        source = pages.ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)

    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "built")]
    built = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert built.returncode == 0, built.stderr
