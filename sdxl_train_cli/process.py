"""Start, stream and stop child processes, each in a group of its own that never outlives us."""

from __future__ import annotations

import codecs
import contextlib
import os
import queue
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import psutil

from sdxl_train_cli import process_family, signals

WINDOWS = sys.platform == "win32"
TICK_SECONDS = 0.25
"""How long a silent child keeps us from looking at signals and its exit."""
GRACE_SECONDS = 10.0
"""How long a stopped group may take before it is killed."""
LAST_WORDS_SECONDS = 2.0
"""How long a command that has ended is read on where a process that it left holds its pipe."""
SIGNALLED = 128
"""Codes above it say that a signal ended a command: 128 and its number."""
LONGEST_SECONDS = 1800.0
"""How long a short command may take: importing torch from a slow disk takes minutes, a hung driver takes for ever."""
LONGEST_LINE = 4096
"""Characters after which a line is cut in two: it is kept, matched and shown, which takes time and memory by length."""

_CHUNK_BYTES = 65_536
_MOST_CHUNKS = 64
"""Read and not yet taken, 4 MB at most. Then the command waits at its pipe, as it would beside a slow terminal."""

_KILL_SECONDS = 5.0
_LOOK_SECONDS = 0.05
_ACTIVITY_SECONDS = 0.5
_IDLE_SHARE = 0.02

_GUARD = Path(__file__).with_name("process_guard.py")
_NEW_GROUP = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class CommandResult:
    """A short command's result."""

    code: int
    stdout: str
    stderr: str


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout_seconds: float = LONGEST_SECONDS,
) -> CommandResult:
    """Run a short command to its end and give what it printed; it ends when we do, also by a kill -9.

    The code is 127 where there is no such program, and 126 where it can't be started. Raises OSError where not even
    the guard can be, as in a folder that is gone, and TimeoutError where it has not ended in time.
    """
    mark = secrets.token_hex(8)
    lifeline, ours = os.pipe()  # its end tells the guard that we are gone
    try:
        with subprocess.Popen(
            _guarded(argv),
            cwd=cwd,
            env=_marked(env, mark),
            stdin=lifeline,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=not WINDOWS,
            creationflags=_NEW_GROUP,
        ) as child:
            try:
                stdout, stderr = _both_streams(child, timeout_seconds)
            except subprocess.TimeoutExpired as error:
                _kill_family(child, mark)
                raise TimeoutError(f"{argv[0]} has not ended in {timeout_seconds:g} s") from error
            except BaseException:
                _kill_family(child, mark)
                raise
            return CommandResult(child.returncode, _text(stdout), _text(stderr))
    finally:
        os.close(lifeline)
        os.close(ours)


def _both_streams(child: subprocess.Popen[bytes], seconds: float) -> tuple[bytes, bytes]:
    """What it printed until its end, and a moment longer where something that it has left holds its pipes.

    Raises TimeoutExpired where it has not ended in time.
    """
    end, last_words = time.monotonic() + seconds, None
    while True:
        try:
            return child.communicate(timeout=TICK_SECONDS)
        except subprocess.TimeoutExpired as error:  # nothing is lost: communicate goes on where it was
            now = time.monotonic()
            if child.poll() is None:
                if now > end:
                    raise
                continue
            last_words = last_words or now + LAST_WORDS_SECONDS
            if now > last_words:
                return error.stdout or b"", error.stderr or b""


def _guarded(argv: Sequence[str]) -> list[str]:
    return [sys.executable, "-I", "-S", str(_GUARD), *argv]


def _marked(env: Mapping[str, str] | None, mark: str) -> dict[str, str]:
    return {**(os.environ if env is None else env), process_family.MARK: mark}


def _kill_family(leader: subprocess.Popen[bytes], mark: str) -> None:
    """Kill the group, and what has left it."""
    if sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader.pid, signal.SIGKILL)
    end = time.monotonic() + _KILL_SECONDS
    while (left := process_family.members(mark)) and time.monotonic() < end:
        process_family.kill(left, end - time.monotonic())
        leader.poll()


def _text(output: bytes) -> str:
    return output.decode("utf-8", errors="replace")


class Child:
    """A long-running command whose output is read as it comes; leaving the `with` block leaves no process behind."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        held: int | None = None,
    ) -> None:
        """Start it. `held` is the handle of a lock, which the guard keeps beyond our death, until all has ended."""
        self._mark = secrets.token_hex(8)
        self._lead: psutil.Process | None = None
        self._chunks: queue.Queue[bytes] = queue.Queue(_MOST_CHUNKS)
        self._is_ending = False
        """What is said from now on is read, so that nothing waits for us, and lost where nobody takes it."""
        self._process = subprocess.Popen(
            _guarded(argv),
            cwd=cwd,
            env=_marked(env, self._mark),
            pass_fds=() if held is None or WINDOWS else (held,),
            stdin=subprocess.PIPE,  # held open: its end tells the guard that we are gone
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=not WINDOWS,
            creationflags=_NEW_GROUP,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Child:  # noqa: PYI034 - typing.Self needs Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    @property
    def pid(self) -> int:
        """The leader of the process group."""
        return self._process.pid

    def lines(self, log: BinaryIO | None = None) -> Iterator[str | None]:
        r"""Yield each line (ended by \r or \n) as it comes, and None about four times a second while there is none.

        A bar is drawn behind its \r and ended only by the next one: it counts as whole once the child is silent.
        The raw bytes go to `log` unchanged.
        """
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        rest, is_bar = "", False
        for chunk in self._arriving():
            if chunk is None:
                if rest and is_bar:
                    yield rest
                    rest = ""
                yield None
                continue
            if log is not None:
                with contextlib.suppress(OSError):  # a full disk is for the command itself to stumble over and tell
                    log.write(chunk)
            text = rest + decoder.decode(chunk)
            *lines, rest = _LINE_END.split(text)
            if lines:
                is_bar = text.removesuffix(rest).endswith("\r")
            for line in lines:
                yield from _cut(line)
            *pieces, rest = _cut(rest)
            yield from pieces
        if rest:
            yield rest

    def _arriving(self) -> Iterator[bytes | None]:
        last_words = None
        while True:
            try:
                chunk = self._chunks.get(timeout=TICK_SECONDS)
            except queue.Empty:
                if self._process.poll() is not None and not self._goes_on():
                    last_words = last_words or time.monotonic() + LAST_WORDS_SECONDS
                    if time.monotonic() > last_words:
                        return
                yield None
                continue
            if not chunk:
                return
            yield chunk

    def _read(self) -> None:
        pipe = self._process.stdout
        with contextlib.suppress(OSError, ValueError):
            while pipe is not None and (chunk := os.read(pipe.fileno(), _CHUNK_BYTES)):
                self._hand_on(chunk)
        self._hand_on(b"")

    def _hand_on(self, chunk: bytes) -> None:
        while not self._is_ending:
            with contextlib.suppress(queue.Full):
                self._chunks.put(chunk, timeout=TICK_SECONDS)
                return
        with contextlib.suppress(queue.Full):
            self._chunks.put_nowait(chunk)

    def _goes_on(self) -> bool:
        """Whether the command works on though its guard was killed, or a launcher that the guard can't stand in for."""
        code = self._process.returncode
        if self._lead is None and (code < 0 or (code > SIGNALLED and sys.platform != "linux")):
            self._lead = next(iter(process_family.members(self._mark)), None)
        return self._lead is not None and process_family.lives(self._lead)

    def activity(self) -> str:
        """What the command's processes do at this moment, in words; takes half a second."""
        processes = process_family.members(self._mark)
        before = {process.pid: _times(process) for process in processes}
        time.sleep(_ACTIVITY_SECONDS)
        after = {process.pid: _times(process) for process in processes}
        spent = {pid: now - then for pid, then in before.items() if then and (now := after[pid])}
        if not spent:
            return "none of its processes is left"
        share = max(spent.values()) / _ACTIVITY_SECONDS
        doing = "is waiting for something" if share < _IDLE_SHARE else "computes"
        return f"the trainer {doing}: its busiest process takes {100 * share:.0f} % of a core"

    def wait(self) -> int:
        """The command's exit code, or 128+n where signal n ended it."""
        code = self._process.wait()
        return SIGNALLED - code if code < 0 else code

    def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Ask the whole group to end, wait, then kill it; Ctrl-C while waiting kills at once."""
        self._is_ending = True  # a command that waits at its pipe would not end
        try:
            self._ask_to_end()
            end = time.monotonic() + grace_seconds
            while self._asked() and time.monotonic() < end:
                self._process.poll()  # buries the leader, which counts as living until then
                time.sleep(_LOOK_SECONDS)
        except signals.Stopped:
            pass
        finally:
            self.kill()

    def kill(self) -> None:
        """End every process now that the command has started, also one that has left the group."""
        self._is_ending = True
        _kill_family(self._process, self._mark)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_KILL_SECONDS)

    def _ask_to_end(self) -> None:
        if sys.platform != "win32":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGTERM)
            return
        for process in self._asked():
            with contextlib.suppress(psutil.Error):
                process.terminate()

    def _asked(self) -> list[psutil.Process]:
        """Those of its processes that are asked to end: what has left the group is killed with the rest."""
        return [process for process in process_family.members(self._mark) if _group(process) in {self.pid, None}]


def _cut(line: str) -> list[str]:
    """The line in pieces; an empty one is one piece."""
    return [line[start : start + LONGEST_LINE] for start in range(0, len(line), LONGEST_LINE)] or [line]


def _group(process: psutil.Process) -> int | None:
    """The group that a process is in; None where there are no groups, or where it is gone."""
    if sys.platform == "win32":
        return None
    with contextlib.suppress(OSError):
        return os.getpgid(process.pid)
    return None


def _times(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def running_from(folder: Path) -> bool:
    """Whether any process was started from a file under `folder`."""
    for process in psutil.process_iter(["exe", "cmdline"]):
        started = [process.info["exe"] or "", *(process.info["cmdline"] or [])[:1]]
        if any(path and Path(path).is_relative_to(folder) for path in started):
            return True
    return False
