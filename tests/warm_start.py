"""Start `sdxl-train` as a fork of a process that has imported it: a process of its own, without the imports' time.

Run as a script this is that process. It takes a line of JSON for each start, and answers with lines of its number and
process id, and of its number and wait status once it has ended.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import math
import os
import pkgutil
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

IS_POSSIBLE = sys.platform == "linux"


class Warm:
    """The process that forks for each start."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._told: dict[int, list[int]] = {}
        environ = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        self._server = subprocess.Popen(
            [sys.executable, __file__], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def start(
        self, words: Sequence[str], cwd: Path, environ: Mapping[str, str], stdout: Path, stderr: Path
    ) -> WarmProcess:
        """Start a command."""
        assert self._server.stdin is not None
        with self._lock:
            self._count += 1
            number = self._count
            asked = {"number": number, "words": list(words), "cwd": str(cwd), "environ": dict(environ),
                     "stdout": str(stdout), "stderr": str(stderr)}  # fmt: skip
            self._server.stdin.write(json.dumps(asked).encode() + b"\n")
            self._server.stdin.flush()
        return WarmProcess(self, number, [*words])

    def told(self, number: int, count: int, seconds: float | None) -> list[int]:
        """What the process has told of a start: its id, then its wait status; waits for so many of them."""
        end = math.inf if seconds is None else time.monotonic() + seconds
        while len(self._told.get(number, [])) < count:
            left = end - time.monotonic()
            with self._lock:
                has_read = self._read(min(max(left, 0), 0.05))
            if left <= 0 and not has_read:
                break
        return self._told.get(number, [])

    def end(self) -> None:
        """Let the process end, and wait for it."""
        with self._server:
            pass

    def _read(self, seconds: float) -> bool:
        assert self._server.stdout is not None
        if not select.select([self._server.stdout], [], [], seconds)[0]:
            return False
        line = self._server.stdout.raw.readline()  # type: ignore[attr-defined]
        assert line, "the process that starts commands has ended"
        number, value = map(int, line.split())
        self._told.setdefault(number, []).append(value)
        return True


class WarmProcess:
    """A started command, as far as the tests use a Popen."""

    def __init__(self, warm: Warm, number: int, args: list[str]) -> None:
        self._warm, self._number, self.args = warm, number, args
        (self.pid,) = warm.told(number, 1, None)[:1]
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code. None while it runs."""
        self._take(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        self._take(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def send_signal(self, signum: int) -> None:
        """Send it a signal if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended since
                os.kill(self.pid, signum)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> WarmProcess:  # noqa: PYI034 - Self came with Python 3.11
        return self

    def __exit__(self, *_error: object) -> None:
        self.wait()

    def _take(self, seconds: float | None) -> None:
        told = self._warm.told(self._number, 2, seconds)
        if len(told) > 1:
            self.returncode = os.waitstatus_to_exitcode(told[1])


@functools.cache
def _warm() -> Warm:
    warm = Warm()
    atexit.register(warm.end)
    return warm


def start(words: Sequence[str], cwd: Path, environ: Mapping[str, str], stdout: Path, stderr: Path) -> WarmProcess:
    """Start `sdxl-train` with these words."""
    return _warm().start(words, cwd, environ, stdout, stderr)


def serve() -> dict[str, object] | None:
    """Fork for each line until there are no more. Gives a fork its line, and None to the process itself."""
    woken, waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda _signum, _frame: None)
    signal.set_wakeup_fd(waking)
    started: dict[int, int] = {}
    asked = b""
    while True:
        ready = select.select([0, woken], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
            _tell_ended(started)
        if 0 not in ready:
            continue
        more = os.read(0, 1 << 16)
        if not more:
            return None
        *lines, asked = (asked + more).split(b"\n")
        for line in lines:
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return dict(json.loads(line))
            started[pid] = json.loads(line)["number"]
            os.write(1, f"{started[pid]} {pid}\n".encode())


def _tell_ended(started: dict[int, int]) -> None:
    while started:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        os.write(1, f"{started.pop(pid)} {status}\n".encode())


def become(asked: dict[str, object]) -> None:
    """Make this fork what a new process would be: its folder, variables, words and streams."""
    os.chdir(str(asked["cwd"]))
    os.environ.clear()
    os.environ.update(asked["environ"])  # type: ignore[arg-type]
    tempfile.tempdir = None
    sys.argv = [importlib.import_module("sdxl_train_cli.cli").__file__ or "", *asked["words"]]  # type: ignore[misc]
    for number, (path, flags) in enumerate(
        ((os.devnull, os.O_RDONLY), (str(asked["stdout"]), os.O_WRONLY), (str(asked["stderr"]), os.O_WRONLY))
    ):
        opened = os.open(path, flags)
        os.dup2(opened, number)
        os.close(opened)


def _import_all() -> None:
    commands = importlib.import_module("sdxl_train_cli.commands")
    for found in pkgutil.walk_packages(commands.__path__, "sdxl_train_cli.commands."):
        importlib.import_module(found.name)


if __name__ == "__main__":
    cli = importlib.import_module("sdxl_train_cli.cli")
    _import_all()
    gc.freeze()
    wanted = serve()
    if wanted is not None:
        become(wanted)
        cli.main()
