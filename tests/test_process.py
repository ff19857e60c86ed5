"""Child processes: read as they come, stopped as a group, and never left behind."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from patience import PATIENCE_SECONDS, lives, processes_with, until

from sdxl_train_cli import process, signals
from sdxl_train_cli.process import Child

GUARD = Path(process.__file__).with_name("process_guard.py")
SLEEP = "import time; time.sleep(60)"
only_posix = pytest.mark.skipif(process.WINDOWS, reason="Windows has no process groups that take signals")


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def lines_of(code: str, log: io.BytesIO | None = None) -> list[str]:
    with Child(python(code)) as child:
        return [line for line in child.lines(log) if line is not None]


def until_line(child: Child, words: str) -> str:
    return next(line for line in child.lines() if line is not None and words in line)


def writes(data: bytes) -> str:
    return f"import sys; sys.stdout.buffer.write({data!r}); sys.stdout.buffer.flush()\n"


@pytest.fixture
def _stops(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Signals stop us as they do in a command, and Ctrl-C comes just as a command was started."""
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    real = subprocess.Popen

    def interrupted(*given: Any, **named: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401 - Popen's
        child = real(*given, **named)
        os.kill(os.getpid(), signal.SIGINT)
        return child

    signals.raise_stopped()
    monkeypatch.setattr(process.subprocess, "Popen", interrupted)
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@only_posix
@pytest.mark.usefixtures("_stops")
@pytest.mark.parametrize("way", [Child, process.run])
def test_ctrl_c_while_a_command_starts_leaves_nothing_of_it(way: Callable[..., object]) -> None:
    """Once, it was left to end by itself, and wrote on into what was being removed."""
    with pytest.raises(signals.Stopped) as stopped:
        way(python(SLEEP, f"left-by-{way.__name__}"))

    assert stopped.value.signum == signal.SIGINT
    assert not processes_with(f"left-by-{way.__name__}")


def test_lines_end_at_carriage_returns_and_line_feeds() -> None:
    assert lines_of(writes(b"one\rtwo\nthree\r\nlast")) == ["one", "two", "three", "last"]


def test_a_letter_cut_in_two_by_the_pipe_is_put_together() -> None:
    letter = "ж".encode()
    code = writes(b"a" + letter[:1]) + "import time; time.sleep(0.1)\n" + writes(letter[1:] + b"b\n")

    assert lines_of(code) == ["aжb"]


def test_bytes_that_are_no_text_are_shown_and_logged_as_they_came() -> None:
    log = io.BytesIO()

    assert lines_of(writes(b"\xff\x00ok\n"), log) == ["\ufffd\x00ok"]
    assert log.getvalue() == b"\xff\x00ok\n"


def test_both_streams_are_read() -> None:
    assert sorted(lines_of("import sys; print('out', flush=True); print('err', file=sys.stderr)")) == ["err", "out"]


def test_a_line_without_an_end_is_cut_so_that_memory_stays_flat() -> None:
    lines = lines_of("import sys; sys.stdout.write('x' * 1_048_576 + '\\nend\\n')")

    assert sum(map(len, lines[:-1])) == 1_048_576
    assert max(map(len, lines)) <= process.LONGEST_LINE
    assert lines[-1] == "end"


FLOODS = {"lines": b"y\n", "bars": b"\r", "no end": b"9", "empty lines": b"\n", "no text": b"\xff\x00\x1b[2J"}


@pytest.mark.parametrize("unit", FLOODS.values(), ids=FLOODS)
def test_who_reads_a_flood_slowly_holds_little_of_it(unit: bytes) -> None:
    """Once, 2 GB stood in memory after 12 seconds."""
    endless = f"import sys\nwhile True: sys.stdout.buffer.write({unit!r} * 50_000)"
    tracemalloc.start()
    try:
        with Child(python(endless)) as child:
            next(child.lines())
            time.sleep(1)
            held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert held < 20 * 2**20


@pytest.mark.parametrize("unit", FLOODS.values(), ids=FLOODS)
def test_a_flood_is_logged_whole_and_comes_in_lines_of_bounded_length(unit: bytes) -> None:
    flood = unit * (1_000_000 // len(unit))
    log = io.BytesIO()

    lines = lines_of(f"import sys; sys.stdout.buffer.write({unit!r} * {len(flood) // len(unit)})", log)

    assert log.getvalue() == flood
    assert max(map(len, lines)) <= process.LONGEST_LINE


def test_a_flood_that_nobody_takes_does_not_keep_its_command_from_ending() -> None:
    code = (
        "import os, signal\n"
        "def end(*_):\n"
        "    for _ in range(2000): os.write(1, b'x' * 10_000)\n"
        "    os._exit(7)\n"
        "signal.signal(15, end)\n"
    )
    with Child(python(code + "print('ready', flush=True)\n" + SLEEP)) as child:
        until_line(child, "ready")
        child.stop()

        assert child.wait() == 7


def test_the_last_drawing_of_a_bar_is_given_without_waiting_for_the_next() -> None:
    """Once, a slow run was shown one step behind, and a stop named the step before."""
    with Child(python(writes(b"\rstep 1\rstep 2") + SLEEP)) as child:
        assert until_line(child, "step 2") == "step 2"


def test_a_plain_line_is_not_cut_by_a_pause() -> None:
    code = writes(b"bar\rone ") + "import time; time.sleep(0.6)\n" + writes(b"\nhalf ")

    assert lines_of(code + "time.sleep(0.6)\n" + writes(b"whole\n"))[-1] == "half whole"


def test_a_silent_child_gives_ticks() -> None:
    with Child(python(SLEEP)) as child:
        assert next(child.lines()) is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_log_on_a_full_disk_does_not_end_the_stream() -> None:
    with Path("/dev/full").open("wb", buffering=0) as log, Child(python("print('one'); print('two')")) as child:
        assert [line for line in child.lines(log) if line] == ["one", "two"]


def test_folder_and_variables_reach_the_child(tmp_path: Path) -> None:
    code = "import os; print(os.getcwd(), os.environ['OURS'], sep='|')"
    with Child(python(code), cwd=tmp_path, env={**os.environ, "OURS": "here"}) as child:
        told = until_line(child, "|")

    assert told == f"{tmp_path.resolve()}|here"


@pytest.mark.parametrize("code", [0, 3])
def test_the_exit_code_is_the_commands_own(code: int) -> None:
    with Child(python(f"raise SystemExit({code})")) as child:
        assert child.wait() == code


@only_posix
def test_a_command_that_a_signal_ended_gives_128_and_its_number() -> None:
    with Child(python("import os; os.kill(os.getpid(), 9)")) as child:
        assert child.wait() == 137


def test_a_program_that_is_not_there_is_told_in_its_output(tmp_path: Path) -> None:
    with Child([str(tmp_path / "nowhere")]) as child:
        assert [line for line in child.lines() if line] == [
            f"{tmp_path / 'nowhere'} can't be started: No such file or directory"
        ]
        assert child.wait() == 127


@only_posix
def test_stop_asks_every_process_of_the_group(tmp_path: Path) -> None:
    asked = "import signal, sys, time, pathlib\n"
    asked += "signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path(sys.argv[1]).touch(), sys.exit()))\n"
    asked += "print('ready', flush=True)\ntime.sleep(60)"
    leader = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {asked!r}, sys.argv[1] + '2'])\n{asked}"
    with Child(python(leader, str(tmp_path / "asked"))) as child:
        lines = child.lines()
        assert [next(line for line in lines if line) for _ in range(2)] == ["ready", "ready"]
        child.stop(grace_seconds=60)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["asked", "asked2"]


@only_posix
def test_stop_kills_what_ignores_the_request() -> None:
    code = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    with Child(python(code + "print('pid', os.getpid(), flush=True); time.sleep(60)")) as child:
        pid = int(until_line(child, "pid").split()[1])
        child.stop(grace_seconds=0.3)

    assert not lives(pid)


@only_posix
def test_stop_does_not_wait_for_the_dead_that_nobody_buries() -> None:
    """Once, in a container whose first process buries nobody, each Ctrl-C took the whole grace."""
    code = "import os, time\nif os.fork() == 0:\n    if os.fork() == 0:\n        time.sleep(60)\n"
    code += "    os.setsid()\n    print('pid', os.getpid(), flush=True)\n    time.sleep(60)\ntime.sleep(60)"
    with Child(python(code)) as child:
        pid = int(until_line(child, "pid").split()[1])
        began = time.monotonic()
        child.stop(grace_seconds=600)
        assert time.monotonic() - began < PATIENCE_SECONDS
        assert not lives(pid)


STOPPER = """
import sys
from sdxl_train_cli import process, signals
signals.raise_stopped()
with process.Child(sys.argv[1:]) as child:
    try:
        for line in child.lines():
            if line is not None:
                print(line, flush=True)
    except signals.Stopped:
        child.stop(grace_seconds=600)
        print('stopped', flush=True)
"""
UNMOVED = "signal.signal(signal.SIGTERM, lambda *_: open(sys.argv[1], 'w').close())"


@only_posix
def test_a_second_ctrl_c_kills_at_once_what_ignores_the_first(tmp_path: Path) -> None:
    trainer = python(f"import sys; {TRAINER.format(UNMOVED)}; time.sleep(60)", str(tmp_path / "asked"))
    with subprocess.Popen(python(STOPPER, *trainer), stdout=subprocess.PIPE) as stopper:
        assert stopper.stdout is not None
        pid = int(stopper.stdout.readline().split()[1])
        stopper.send_signal(signal.SIGINT)
        until((tmp_path / "asked").exists)
        assert lives(pid)
        stopper.send_signal(signal.SIGINT)
        assert stopper.stdout.readline() == b"stopped\n"
        assert not lives(pid)
        assert stopper.wait(PATIENCE_SECONDS) == 0


@only_posix
def test_leaving_the_block_kills_the_children_of_the_child_too() -> None:
    code = f"import subprocess, sys, time; print('pid', subprocess.Popen([sys.executable, '-c', {SLEEP!r}]).pid,"
    with Child(python(code + " flush=True); time.sleep(60)")) as child:
        pid = int(until_line(child, "pid").split()[1])

    until(lambda: not lives(pid))


@only_posix
def test_a_grandchild_that_has_left_the_group_neither_hangs_the_reader_nor_lives_on() -> None:
    start = f"subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True)"
    with Child(python(f"import subprocess, sys; print('pid', {start}.pid)")) as child:
        lines = [line for line in child.lines() if line]
    pid = int(lines[0].split()[1])

    assert not lives(pid)


PARENT = """
import sys
from pathlib import Path
from sdxl_train_cli import process, signals
process._GUARD = Path(sys.argv[1])
with process.Child(sys.argv[2:]) as child:
    for line in child.lines():
        if line is not None:
            print(line, flush=True)
"""
TRAINER = "import os, signal, time; {}; print('trainer', os.getpid(), flush=True); time.sleep(60)"
OBEDIENT = TRAINER.format("pass")
STUBBORN = TRAINER.format("signal.signal(signal.SIGTERM, signal.SIG_IGN)")
LAUNCHER = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"


@only_posix
@pytest.mark.parametrize("trainer", [OBEDIENT, STUBBORN], ids=["obedient", "stubborn"])
@pytest.mark.parametrize("launched", [False, True], ids=["direct", "behind a launcher"])
def test_kill_9_of_the_parent_leaves_no_trainer(tmp_path: Path, trainer: str, launched: bool) -> None:
    """Once, the guard's thread died of setting a signal handler, and its launcher's end let it leave the trainer."""
    guard = tmp_path / "guard.py"
    source = GUARD.read_text(encoding="utf-8")
    guard.write_text(source.replace("GRACE_SECONDS = 10.0", "GRACE_SECONDS = 0.5"), encoding="utf-8")
    argv = python(LAUNCHER, trainer) if launched else python(trainer)
    with subprocess.Popen(python(PARENT, str(guard), *argv), stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline().split()[1])
        parent.kill()
    with suppress(AssertionError):
        until(lambda: not lives(pid))
    left = lives(pid)
    if left:
        os.kill(pid, signal.SIGKILL)
    assert not left


LEAVER = """
import os, subprocess, sys, time
left = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)
print('left', left.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives a guard what others leave behind")
def test_kill_9_of_the_parent_leaves_no_process_that_has_left_the_group() -> None:
    with subprocess.Popen(python(PARENT, str(GUARD), *python(LAUNCHER, LEAVER)), stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline().split()[1])
        parent.kill()

    until(lambda: not lives(pid))


@only_posix
def test_a_command_goes_on_without_its_guard_and_is_read_to_its_end() -> None:
    with Child(python("import time; print('one', flush=True); time.sleep(3.5); print('two')")) as child:
        lines = child.lines()
        assert next(line for line in lines if line) == "one"
        os.kill(child.pid, signal.SIGKILL)

        assert [line for line in lines if line] == ["two"]


def test_run_gives_code_and_both_streams() -> None:
    done = process.run(python("import sys; print('ж'); print('err', file=sys.stderr); sys.exit(4)"))

    assert (done.code, done.stdout.strip(), done.stderr.strip()) == (4, "ж", "err")


def test_run_of_a_program_that_cannot_be_started_says_so_as_a_shell_does(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program", encoding="utf-8")

    absent, text = process.run([str(tmp_path / "nowhere")]), process.run([str(tmp_path / "text")])

    assert (absent.code, text.code) == (127, 126)
    assert absent.stderr.strip() == f"{tmp_path / 'nowhere'} can't be started: No such file or directory"


def test_run_in_a_folder_that_is_gone_raises(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone"):
        process.run(python("pass"), cwd=tmp_path / "gone")


def test_run_of_an_endless_command_ends_with_all_that_it_started() -> None:
    """Once, a driver that hangs would have kept setup for ever."""
    words = f"endless-{os.getpid()}"
    endless = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {SLEEP!r}, sys.argv[1]]); {SLEEP}"

    with pytest.raises(TimeoutError, match="has not ended in 2 s"):
        process.run([*python(endless), words], timeout_seconds=2)

    until(lambda: not processes_with(words))


@only_posix
def test_run_that_takes_too_long_ends_what_has_left_the_group_too() -> None:
    """Once, a grandchild in a session of its own lived on."""
    words = f"leaver-{os.getpid()}"
    start = f"subprocess.Popen([sys.executable, '-c', {SLEEP!r}, sys.argv[1]], start_new_session=True)"

    with pytest.raises(TimeoutError):
        process.run([*python(f"import subprocess, sys; {start}; {SLEEP}"), words], timeout_seconds=2)

    assert not processes_with(words)


@only_posix
def test_run_gives_what_a_command_said_though_something_that_it_left_holds_its_pipes() -> None:
    """Once, this waited for the one left behind, up to half an hour, and then said that the command had not ended."""
    start = f"subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True)"
    code = f"import subprocess, sys; print({start}.pid); print('err', file=sys.stderr); sys.exit(4)"

    done = process.run(python(code), timeout_seconds=PATIENCE_SECONDS)

    assert (done.code, done.stderr.strip()) == (4, "err")
    os.kill(int(done.stdout), signal.SIGKILL)  # it is there still: a short command may leave a service behind


RUNNER = "import sys; from sdxl_train_cli import process; process.run(sys.argv[1:])"


@only_posix
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_short_command_ends_with_whoever_waits_for_it(signum: int) -> None:
    """Once, the check of a new environment outlived a kill -9 of its setup by half a minute, and held its folder."""
    words = f"short-{os.getpid()}-{signum}"
    with subprocess.Popen([sys.executable, "-c", RUNNER, sys.executable, "-c", SLEEP, words]) as runner:
        until(lambda: len(processes_with(words)) == 3)  # the one that waits, the guard, the command
        runner.send_signal(signum)
        runner.wait(PATIENCE_SECONDS)
        until(lambda: not processes_with(words))


SIGNALLED = """
import os, signal, sys
from sdxl_train_cli import signals
signals.raise_stopped()
try:
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
except signals.Stopped as stop:
    sys.exit(128 + stop.signum)
sys.exit(0)
"""


@only_posix
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_raises_stopped(name: str, code: int) -> None:
    assert process.run(python(SIGNALLED, name)).code == code


@only_posix
def test_a_signal_that_is_ignored_stays_ignored_as_nohup_wants() -> None:
    nohup = "import signal, subprocess, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    nohup += "sys.exit(subprocess.run([sys.executable, '-c', *sys.argv[1:]]).returncode)"

    assert process.run(python(nohup, SIGNALLED, "SIGHUP")).code == 0


@only_posix
def test_a_process_that_runs_from_a_folder_is_seen(tmp_path: Path) -> None:
    program = tmp_path / "venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.symlink_to(sys.executable)
    assert not process.running_from(tmp_path / "venv")

    with Child([str(program), "-c", f"print('ready', flush=True); {SLEEP}"]) as child:
        until_line(child, "ready")
        assert process.running_from(tmp_path / "venv")
        assert not process.running_from(tmp_path / "other")
