"""What `queue service` writes is what systemd and Windows' scheduler take."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from sdxl_train_cli.commands.queue import service

ARGV = [sys.executable, "-m", "sdxl_train_cli", "queue", "start", "--wait", "--home", "/a home/50 % & <мир>"]
_TASKS = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"


def test_a_unit_starts_the_worker_with_every_odd_letter_of_a_path() -> None:
    lines = service.unit(ARGV).splitlines()

    assert f'ExecStart={sys.executable} -m sdxl_train_cli queue start --wait --home "/a home/50 %% & <мир>"' in lines
    assert {"KillMode=process", "OOMPolicy=continue", "SuccessExitStatus=143"} <= set(lines)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "sdxl-train-queue.service"
    unit.write_text(service.unit(ARGV), encoding="utf-8")
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}

    def complaints() -> list[str]:
        argv = ["systemd-analyze", "verify", "--user", str(unit)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environ)
        return [line for line in done.stderr.splitlines() if unit.name in line]

    assert complaints() == []
    unit.write_text(service.unit(ARGV).replace("OOMPolicy", "OomPolicy"), encoding="utf-8")
    assert len(complaints()) == 1


def test_a_task_of_windows_has_no_end_and_runs_on_batteries() -> None:
    root = ET.fromstring(service.task(ARGV, "HOME\\A & B").partition("?>")[2])  # noqa: S314 - our own text

    told = {each.tag.removeprefix(_TASKS): each.text for each in root.iter()}
    assert told["Command"] == sys.executable
    assert told["Arguments"] == '-m sdxl_train_cli queue start --wait --home "/a home/50 % & <мир>"'
    assert (told["UserId"], told["ExecutionTimeLimit"]) == ("HOME\\A & B", "PT0S")
    assert told["StopIfGoingOnBatteries"] == told["DisallowStartIfOnBatteries"] == "false"
