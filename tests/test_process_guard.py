"""The guard: one command, its exit code, and an end for its group when standard input ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from patience import PATIENCE_SECONDS

from sdxl_train_cli import process

fcntl = pytest.importorskip("fcntl", reason="POSIX locks")
GUARD = Path(process.__file__).with_name("process_guard.py")
pytestmark = pytest.mark.skipif(process.WINDOWS, reason="signals and process groups are POSIX")
READY = "print('ready', flush=True); time.sleep(60)"


def guarded(code: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-I", "-S", str(GUARD), sys.executable, "-c", f"import os, signal, sys, time\n{code}"]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)


def until_ready(guard: subprocess.Popen[bytes]) -> None:
    assert guard.stdout is not None
    assert guard.stdout.readline() == b"ready\n"


@pytest.mark.parametrize(
    ("code", "expected"),
    [("pass", 0), ("sys.exit(7)", 7), ("os.kill(os.getpid(), 9)", 137), ("os.kill(os.getpid(), 15)", 143)],
)
def test_the_commands_end_is_passed_on(code: str, expected: int) -> None:
    with guarded(code) as guard:
        assert guard.wait(PATIENCE_SECONDS) == expected


def test_the_command_has_no_standard_input() -> None:
    with guarded("sys.exit(0 if sys.stdin.read() == '' else 1)") as guard:
        assert guard.wait(PATIENCE_SECONDS) == 0


def test_a_lock_of_the_parents_reads_like_none_and_is_held_by_all_that_the_command_starts(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code = "import sys, time; print(repr(sys.stdin.read()), flush=True); time.sleep(60)"
        started = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {code!r}])"
        argv = [sys.executable, "-I", "-S", str(GUARD), f"--held={lock.fileno()}", sys.executable, "-c", started]
        with subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[lock.fileno()], start_new_session=True
        ) as guard:
            assert guard.stdout is not None
            assert guard.stdout.readline() == b"''\n"
            guard.wait(PATIENCE_SECONDS)
            lock.close()
            with (tmp_path / "lock").open("rb") as again:
                with pytest.raises(BlockingIOError):
                    fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.killpg(guard.pid, signal.SIGKILL)
                fcntl.flock(again, fcntl.LOCK_EX)


def test_a_signal_to_the_group_ends_the_command_and_the_guard_tells_how() -> None:
    with guarded(f"signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); {READY}") as guard:
        until_ready(guard)
        os.killpg(guard.pid, signal.SIGTERM)
        assert guard.wait(PATIENCE_SECONDS) == 5


def test_the_command_does_not_inherit_the_guards_patience() -> None:
    with guarded(READY) as guard:
        until_ready(guard)
        os.killpg(guard.pid, signal.SIGTERM)
        assert guard.wait(PATIENCE_SECONDS) == 143


def test_the_end_of_standard_input_ends_the_whole_group() -> None:
    with guarded(READY) as guard:
        until_ready(guard)
        assert guard.stdin is not None
        guard.stdin.close()
        assert guard.wait(PATIENCE_SECONDS) == -signal.SIGKILL
        with pytest.raises(ProcessLookupError):
            os.killpg(guard.pid, 0)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"])
def test_a_signal_to_the_guard_alone_changes_nothing(name: str) -> None:
    with guarded("print('ready', flush=True); time.sleep(0.5); sys.exit(7)") as guard:
        until_ready(guard)
        guard.send_signal(getattr(signal, name))
        assert guard.wait(PATIENCE_SECONDS) == 7


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives a guard what others leave behind")
@pytest.mark.parametrize(
    ("end", "expected"), [("sys.exit(0)", 0), ("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", 137)]
)
def test_a_launcher_that_is_killed_leaves_its_trainers_end_to_the_guard(end: str, expected: int) -> None:
    """What has left the session is nobody's trainer: it is not waited for."""
    daemon = "import subprocess, sys; subprocess.Popen(['sleep', '30'], start_new_session=True)"
    trainer = f"import os, sys, time; print('ready', flush=True); time.sleep(1); {end}"
    launcher = f"import subprocess\nsubprocess.run([sys.executable, '-c', {daemon!r}])\n"
    launcher += f"subprocess.Popen([sys.executable, '-c', {trainer!r}])\ntime.sleep(0.5)\nos.kill(os.getpid(), 9)"
    with guarded(launcher) as guard:
        until_ready(guard)
        assert guard.wait(PATIENCE_SECONDS) == expected
