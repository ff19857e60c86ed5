"""`sdxl-train queue service`: start the worker with the machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sdxl_train_cli import files, formatting
from sdxl_train_cli.commands import workspace
from sdxl_train_cli.commands.workspace import HomeOption
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.jobs import worker
from sdxl_train_cli.ui import console, printing

_NAME = "sdxl-train-queue"
_UNIT = """\
[Unit]
Description=sdxl-train queue

[Service]
ExecStart={argv}
# Runs end their step and save it first; they are stopped by the worker, not by systemd.
KillMode=mixed
TimeoutStopSec=300
Restart=on-failure
RestartSec=60

[Install]
WantedBy=default.target
"""


def write_service(home: HomeOption = None) -> None:
    """Write a service that starts the worker with the machine, and say how to switch it on."""
    argv = worker.own_argv("queue", "start", "--wait", "--home", str(workspace.home(home).path))
    if sys.platform == "win32":
        printing.out(formatting.shell_line(["schtasks", "/Create", "/SC", "ONLOGON", "/TN", _NAME, "/TR",
                                            formatting.shell_line(argv)]))  # fmt: skip
        console.note("type the line above: Windows then starts the worker when you log in")
        return
    if sys.platform != "linux":
        raise UsageError("there is no systemd on this system", f"start it yourself: {formatting.shell_line(argv)}")
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"
    unit = folder / f"{_NAME}.service"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.write(unit, _UNIT.format(argv=" ".join(map(_quoted, argv))))
    except OSError as error:
        raise UsageError(f"{unit} can't be written: {error.strerror}", "check its permissions") from error
    printing.out(str(unit))
    console.note(f"to switch it on: systemctl --user daemon-reload && systemctl --user enable --now {_NAME}")
    console.note("to have it run while you are logged out: loginctl enable-linger")


def _quoted(word: str) -> str:
    """A word of ExecStart, in which systemd expands % and $ and splits at spaces (systemd.service)."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if set(escaped) & set(" \t'\"") else escaped
