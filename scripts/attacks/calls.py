"""One call of `sdxl-train`, as a real process or as a fork of this one, with what it printed, took and left."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import pkgutil
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import sdxl_train_cli

COMMAND = (sys.executable, "-m", "sdxl_train_cli")
LONGEST_SECONDS = 60
"""Wall-clock limit after which a call counts as hanging. Busy machines are slow."""
_CPU_SECONDS = 25
_ADDRESSES = 8 << 30


@dataclass(frozen=True)
class Called:
    """Result of a call."""

    argv: tuple[str, ...]
    code: int
    """Exit code as in a shell, but negative if an unhandled signal ended the call."""
    stdout: bytes
    stderr: bytes
    wall_seconds: float
    cpu_seconds: float
    peak_mib: float
    """Peak memory of the process, or of its largest child."""

    @property
    def told(self) -> str:
        """Stderr as text."""
        return self.stderr.decode("utf-8", "replace")

    @property
    def answer(self) -> str:
        """Stdout as text."""
        return self.stdout.decode("utf-8", "replace")


class Started:
    """A real process that is still running."""

    def __init__(
        self, argv: Sequence[str], cwd: Path, environ: Mapping[str, str], logs: Path, command: Sequence[str] = COMMAND
    ) -> None:
        self.argv = tuple(argv)
        logs.mkdir(parents=True, exist_ok=True)
        name = f"{time.monotonic_ns()}"
        self._out, self._err = logs / f"{name}.stdout", logs / f"{name}.stderr"
        self._began = time.monotonic()
        self._ended: Called | None = None
        self._own: tuple[float, float] | None = None
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                [*command, *argv], cwd=cwd, env=dict(environ), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Process ID."""
        return self._process.pid

    @property
    def told(self) -> str:
        """Its stderr so far."""
        return self._err.read_text(encoding="utf-8", errors="replace")

    def is_over(self) -> bool:
        """Whether it has ended."""
        if self._ended is None:
            self._look()
        return self._ended is not None or self._reaped(os.WNOHANG)

    def _look(self) -> None:
        """What it took by itself so far: the kernel adds a parent's memory and children's time to what it tells later.

        Linux alone tells it while it goes on.
        """
        with contextlib.suppress(OSError, ValueError, IndexError):
            status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
            peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
            times = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            self._own = (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"), peak

    def end(self, seconds: float = LONGEST_SECONDS) -> Called:
        """Wait for its end, or kill it after too long."""
        until = time.monotonic() + seconds
        while not self.is_over():
            if time.monotonic() > until:
                os.kill(self.pid, signal.SIGKILL)
                self._reaped(0)
                break
            time.sleep(0.02)
        assert self._ended is not None  # noqa: S101 - it is over
        return self._ended

    def _reaped(self, how: int) -> bool:
        pid, status, usage = os.wait4(self.pid, how)
        if pid == 0:
            return False
        self._process.returncode = code = os.waitstatus_to_exitcode(status)
        ended = _called(self.argv, code, (self._out, self._err), self._began, usage)
        own = self._own or (ended.cpu_seconds, ended.peak_mib)
        self._ended = replace(ended, cpu_seconds=own[0], peak_mib=own[1])
        for path in (self._out, self._err):
            path.unlink()
        return True


def run(
    argv: Sequence[str], cwd: Path, environ: Mapping[str, str], logs: Path, command: Sequence[str] = COMMAND
) -> Called:
    """Run a real process to its end."""
    return Started(argv, cwd, environ, logs, command).end()


def _called(
    argv: Sequence[str], code: int, files: tuple[Path, Path], began: float, usage: resource.struct_rusage
) -> Called:
    peak = usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    out, err = (path.read_bytes() for path in files)
    return Called(tuple(argv), code, out, err, time.monotonic() - began, usage.ru_utime + usage.ru_stime, peak)


def preload() -> None:
    """Import everything that a command may import, once for all forks."""
    from PIL import Image  # noqa: PLC0415 - only forks need it

    Image.init()
    for found in pkgutil.walk_packages(sdxl_train_cli.__path__, "sdxl_train_cli."):
        if not found.name.endswith(("__main__", ".guard")) and ".inside" not in found.name:
            importlib.import_module(found.name)


def fork(argv: Sequence[str], cwd: Path, environ: Mapping[str, str], logs: Path) -> Called:
    """The same in a fork of this process: what takes a process half a second to import is there already.

    Words of `argv` may hold lone surrogates, as bytes of a command line that are no UTF-8 do.
    """
    files = logs / f"{os.getpid()}.stdout", logs / f"{os.getpid()}.stderr"
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _become(argv, cwd, environ, files)
    _, status, usage = os.wait4(pid, 0)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    return _called(argv, os.waitstatus_to_exitcode(status), files, began, usage)


def _become(argv: Sequence[str], cwd: Path, environ: Mapping[str, str], files: tuple[Path, Path]) -> NoReturn:
    code = 70
    try:
        os.setsid()
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(environ)
        for number, (path, mode) in enumerate([(Path(os.devnull), "rb"), (files[0], "wb"), (files[1], "wb")]):
            with path.open(mode) as file:
                os.dup2(file.fileno(), number)
        sys.stdin, sys.stdout, sys.stderr = (
            io.TextIOWrapper(os.fdopen(number, mode), encoding="utf-8", write_through=number == 2)  # noqa: PLR2004
            for number, mode in enumerate(("rb", "wb", "wb"))
        )
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for signum in (signal.SIGALRM, signal.SIGTERM):
            signal.signal(signum, signal.SIG_DFL)
        signal.alarm(LONGEST_SECONDS)
        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES, _ADDRESSES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.argv = ["sdxl-train", *argv]
        code = _main()
    finally:
        os._exit(code)


def _main() -> int:
    from sdxl_train_cli import cli  # noqa: PLC0415 - preloaded

    code: object = 0
    try:
        cli.main()
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:  # noqa: BLE001 - as the interpreter itself would
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return code if isinstance(code, int) else 1
