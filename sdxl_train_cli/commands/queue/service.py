"""`sdxl-train queue service`: start the worker with the machine."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

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
# A job outlives a worker that was killed, and the next worker goes on with it.
KillMode=process
# A trainer that the kernel ends for want of memory is a failed job, and no reason to end the others.
OOMPolicy=continue
# Runs end their step and save it first.
TimeoutStopSec=300
SuccessExitStatus=143
Restart=on-failure
RestartSec=60

[Install]
WantedBy=default.target
"""
# Without these settings Windows starts no task on batteries, and ends one after three days.
_TASK = """\
<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <Triggers>
    <LogonTrigger><Enabled>true</Enabled><UserId>{user}</UserId></LogonTrigger>
  </Triggers>
  <Principals>
    <Principal id="Author">
      <UserId>{user}</UserId><LogonType>InteractiveToken</LogonType><RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
  </Settings>
  <Actions Context="Author">
    <Exec><Command>{command}</Command><Arguments>{arguments}</Arguments></Exec>
  </Actions>
</Task>
"""


def write_service(home: HomeOption = None) -> None:
    """Write a service that starts the worker with the machine, and say how to switch it on."""
    where = workspace.home(home)
    argv = worker.own_argv("queue", "start", "--wait", "--home", str(where.path))
    if sys.platform == "win32":
        path = where.queue / "task.xml"
        user = "\\".join(filter(None, (os.environ.get("USERDOMAIN"), getpass.getuser())))
        _write(path, task(argv, user).encode("utf-16"))
        words = formatting.shell_line(["schtasks", "/Create", "/TN", _NAME, "/XML", str(path)])
        console.note(f"to have Windows start the worker when you log in: {words}")
        return
    if sys.platform != "linux":
        raise UsageError("there is no systemd on this system", f"start it yourself: {formatting.shell_line(argv)}")
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"
    _write(folder / f"{_NAME}.service", unit(argv).encode())
    console.note(f"to switch it on: systemctl --user daemon-reload && systemctl --user enable --now {_NAME}")
    console.note("to have it run while you are logged out: loginctl enable-linger")


def unit(argv: Sequence[str]) -> str:
    """A unit of systemd's user manager."""
    return _UNIT.format(argv=" ".join(map(_quoted, argv)))


def task(argv: Sequence[str], user: str) -> str:
    """A task of Windows' scheduler, as its own export writes it."""
    command, *arguments = argv
    line = formatting.shell_line(arguments, windows=True)
    return _TASK.format(user=escape(user), command=escape(command), arguments=escape(line))


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, content)
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}", "check its permissions") from error
    printing.out(str(path))


def _quoted(word: str) -> str:
    """A word of ExecStart, in which systemd expands % and $ and splits at spaces (systemd.service)."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if set(escaped) & set(" \t'\"") else escaped
