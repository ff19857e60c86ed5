"""Start, stream and stop child processes. Each has its own process group and never outlives us."""

from __future__ import annotations

import codecs
import contextlib
import os
import queue
import re
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
"""How often signals and the exit of a silent child are checked."""
GRACE_SECONDS = 10.0
"""How long a stopped group may take before it is killed."""
LAST_WORDS_SECONDS = 2.0
"""How long output is still read after a command has ended, if a process that it left behind holds the pipe."""
SIGNALLED = 128
"""Exit codes above this mean that a signal ended the command: 128 plus its number."""
LONGEST_SECONDS = 1800.0
"""Timeout of short commands. Importing torch from a slow disk takes minutes; a hung driver takes forever."""
LONGEST_LINE = 4096
"""Longer lines are split: every line is stored, matched and shown, which costs time and memory by length."""

_CHUNK_BYTES = 65_536
_MOST_CHUNKS = 64
"""Chunks read ahead, at most 4 MB. Beyond that the command blocks on its pipe, as with a slow terminal."""

_KILL_SECONDS = 5.0
_LOOK_SECONDS = 0.05
_ACTIVITY_SECONDS = 0.5
_IDLE_SHARE = 0.02

_GUARD = Path(__file__).with_name("process_guard.py")
_NEW_GROUP = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class CommandResult:
    """Result of a short command."""

    code: int
    stdout: str
    stderr: str


class SlowCommandError(TimeoutError):
    """A command has not ended in time."""

    def __init__(self, words: str, said: str) -> None:
        super().__init__(words)
        self.said = said
        """What stands on its stderr."""


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout_seconds: float = LONGEST_SECONDS,
) -> CommandResult:
    """Run a short command and return its output. It ends when we do, even if we are killed with SIGKILL.

    The code is 127 if there is no such program, and 126 if it can't be started. Raises OSError if not even the guard
    can be started, for example in a deleted folder, and SlowCommandError if it does not end in time.
    """
    mark = process_family.new_mark()
    lifeline, ours = os.pipe()  # closing it tells the guard that we are gone
    try:
        with _start(argv, mark, cwd=cwd, env=env, stdin=lifeline, stderr=subprocess.PIPE) as child:
            try:
                stdout, stderr = _both_streams(child, timeout_seconds)
            except subprocess.TimeoutExpired as error:
                _kill_family(child, mark)
                words = f"{argv[0]} has not ended in {timeout_seconds:g} s"
                raise SlowCommandError(words, _text(error.stderr or b"")) from error
            except BaseException:
                _kill_family(child, mark)
                raise
            return CommandResult(child.returncode, _text(stdout), _text(stderr))
    finally:
        os.close(lifeline)
        os.close(ours)


Detached = subprocess.Popen[bytes]
"""A command that goes on without us. While we live, it must be polled, so that it is reaped."""


def start_detached(argv: Sequence[str], log: Path) -> Detached:
    """Start a command that goes on without us. Its output is appended to `log`.

    Raises OSError if it can't be started, or the log can't be written.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            [*argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=not WINDOWS,
            creationflags=_NEW_GROUP,
        )


def ask_to_end(pid: int) -> None:
    """Send a detached command what Ctrl-C or a shutdown would. Nothing happens if it has ended."""
    with contextlib.suppress(OSError):
        os.kill(pid, getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM))


def _both_streams(child: subprocess.Popen[bytes], seconds: float) -> tuple[bytes, bytes]:
    """Return all output. Waits a moment longer if a process that the command left behind holds its pipes.

    Raises TimeoutExpired if the command has not ended in time.
    """
    end, last_words = time.monotonic() + seconds, None
    while True:
        try:
            return child.communicate(timeout=TICK_SECONDS)
        except subprocess.TimeoutExpired as error:  # nothing is lost: communicate continues where it stopped
            now = time.monotonic()
            if child.poll() is None:
                if now > end:
                    raise
                continue
            last_words = last_words or now + LAST_WORDS_SECONDS
            if now > last_words:
                return error.stdout or b"", error.stderr or b""


def _start(  # noqa: PLR0913 - keyword-only, each is one of Popen's
    argv: Sequence[str],
    mark: str,
    *,
    cwd: Path | None,
    env: Mapping[str, str] | None,
    stdin: int,
    stderr: int,
    held: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a guarded command. A signal that comes meanwhile is raised at the end, after the command was killed."""
    child: subprocess.Popen[bytes] | None = None
    held = None if WINDOWS else held
    try:
        with signals.held():
            child = subprocess.Popen(
                _guarded(argv, held),
                cwd=cwd,
                env=_marked(env, mark),
                pass_fds=() if held is None else (held,),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
                bufsize=0,
                start_new_session=not WINDOWS,
                creationflags=_NEW_GROUP,
            )
    except BaseException:
        if child is not None:
            with child:
                _kill_family(child, mark)
        raise
    return child


def _guarded(argv: Sequence[str], held: int | None) -> list[str]:
    lock = [] if held is None else [f"--held={held}"]
    return [sys.executable, "-I", "-S", str(_GUARD), *lock, *argv]


def _marked(env: Mapping[str, str] | None, mark: str) -> dict[str, str]:
    return {**(os.environ if env is None else env), process_family.MARK: mark}


def _kill_family(leader: subprocess.Popen[bytes], mark: str) -> None:
    """Kill the process group, and every process that has left it. A second Ctrl-C waits until that is done."""
    with signals.held():
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
    """A long-running command whose output is read as it arrives. Leaving the `with` block leaves no process behind."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        held: int | None = None,
    ) -> None:
        """Start the command.

        `held` is a lock's handle that stays open until everything has ended, even after our death. Windows' locks end
        with the process that took them.
        """
        self._mark = process_family.new_mark()
        self._lead: psutil.Process | None = None
        self._chunks: queue.Queue[bytes] = queue.Queue(_MOST_CHUNKS)
        self._is_ending = False
        """What is said from now on is read, so that nothing waits for us, and lost where nobody takes it."""
        self._process = _start(
            argv,
            self._mark,
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE,  # held open: closing it tells the guard that we are gone
            stderr=subprocess.STDOUT,
            held=held,
        )
        try:
            threading.Thread(target=self._read, daemon=True).start()
        except BaseException:  # a signal came: nobody has this object yet, so nobody else would end the command
            self.__exit__(None, None, None)
            raise

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
        """The process group leader."""
        return self._process.pid

    def lines(self, log: BinaryIO | None = None) -> Iterator[str | None]:
        r"""Yield each line (ended by \r or \n) as it arrives, and None about four times a second while there is none.

        A progress bar is drawn after its \r and ended only by the next one, so a partial line counts as whole once the
        child is silent. The raw bytes go to `log` unchanged.
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
                with contextlib.suppress(OSError):  # on a full disk, the command itself fails and says so
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
        """Whether the command still runs after its guard, or a launcher that the guard can't replace, was killed."""
        code = self._process.returncode
        if self._lead is None and (code < 0 or (code > SIGNALLED and sys.platform != "linux")):
            self._lead = next(iter(process_family.members(self._mark)), None)
        return self._lead is not None and process_family.lives(self._lead)

    def activity(self) -> str:
        """What the command's processes are doing, in words. Takes half a second."""
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
        """Return the command's exit code, or 128+n if signal n ended it."""
        code = self._process.wait()
        return SIGNALLED - code if code < 0 else code

    def ask_to_end(self) -> None:
        """Ask the whole group to end, and go on reading what it says."""
        self._ask_to_end()

    def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Ask the whole group to end, wait, then kill it. Ctrl-C while waiting kills at once."""
        self._is_ending = True  # a command blocked on its pipe would not end
        try:
            self._ask_to_end()
            end = time.monotonic() + grace_seconds
            while self._asked() and time.monotonic() < end:
                self._process.poll()  # reaps the leader, which counts as living until then
                time.sleep(_LOOK_SECONDS)
        except signals.Stopped:
            pass
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill every process that the command has started, including those that have left the group."""
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
        """Processes that are asked to end. Those that have left the group are killed with the rest."""
        return [process for process in process_family.members(self._mark) if _group(process) in {self.pid, None}]


def _cut(line: str) -> list[str]:
    """Split a line into pieces. An empty line is one piece."""
    return [line[start : start + LONGEST_LINE] for start in range(0, len(line), LONGEST_LINE)] or [line]


def _group(process: psutil.Process) -> int | None:
    """The process's group, or None if the system has no groups or the process is gone."""
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
