"""Slurm's commands as shell scripts that a test writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Say = Callable[[str, str], None]
"""Takes the name of a command of Slurm, and the shell code that it is to run."""


def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Put a folder for them before the system's commands, and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def write(name: str, code: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{code}\n", encoding="utf-8")
        (folder / name).chmod(0o755)

    return write
