"""A live run is told from a dead one by its lock, whatever the clock says; where that can't be known, it is said."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from kept_runs import NOBODY, keep, write_json
from patience import PATIENCE_SECONDS, lives, until

from sdxl_train_cli import process
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.records import history, in_use, record, removal, run_owner
from sdxl_train_cli.records.history import RunState
from sdxl_train_cli.records.runs import Run

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="boot, ticks and process namespaces are Linux's")
only_posix = pytest.mark.skipif(process.WINDOWS, reason="kills with a signal")
WATCHER = """
import sys, time
from pathlib import Path
from sdxl_train_cli.records import runs
with runs.running(runs.Run(Path(sys.argv[1]), "cat")):
    print("watching", flush=True)
    time.sleep(600)
"""


@contextmanager
def watched(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have another process watch the run of a folder."""
    argv = [sys.executable, "-c", WATCHER, str(folder)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as watcher:
        try:
            assert watcher.stdout is not None
            assert watcher.stdout.readline() == b"watching\n"
            yield watcher
        finally:
            watcher.kill()


def state(folder: Path) -> RunState:
    return history.load(folder).state


def noted(folder: Path, **changes: object) -> None:
    """Note a watcher by hand, as another moment or computer would have written it."""
    here = json.loads(run_owner.current_process(is_locked=True).model_dump_json())
    write_json(folder / record.RUNNING, {**here, **changes})


def test_a_run_is_running_for_as_long_as_its_watcher_lives(tmp_path: Path) -> None:
    folder = keep(tmp_path / "cat", None)
    with watched(folder) as watcher:
        assert state(folder) is RunState.RUNNING
        watcher.kill()
        watcher.wait(PATIENCE_SECONDS)
        assert state(folder) is RunState.INTERRUPTED


@pytest.mark.parametrize("clock", [-1e6, -3.0, 3.0, 1e6, None])
def test_a_clock_that_was_set_makes_no_live_run_dead(tmp_path: Path, clock: float | None) -> None:
    """Once, births were compared by the clock on the wall, and `runs rm` deleted a run while it trained."""
    folder = keep(tmp_path / "cat", None)
    with watched(folder):
        told = json.loads((folder / record.RUNNING).read_text(encoding="utf-8"))
        created = None if clock is None else told["created"] + clock
        write_json(folder / record.RUNNING, {**told, "created": created})

        assert state(folder) is RunState.RUNNING
        assert "cat is running" in str(removal.problem(history.load(folder)))


def test_a_note_that_a_full_disk_swallowed_makes_no_live_run_dead(tmp_path: Path) -> None:
    folder = keep(tmp_path / "cat", None)
    with watched(folder):
        (folder / record.RUNNING).unlink()

        assert state(folder) is RunState.RUNNING


@only_linux
def test_a_container_sees_a_run_of_the_same_computer_by_its_lock(tmp_path: Path) -> None:
    folder = keep(tmp_path / "cat", None)
    with watched(folder):
        noted(folder, space="pid:[1]", host="0c0ffee", pid=NOBODY)

        assert state(folder) is RunState.RUNNING
    assert state(folder) is RunState.INTERRUPTED


def test_a_copy_of_a_folder_that_is_watched_is_watched_by_nobody(tmp_path: Path) -> None:
    folder = keep(tmp_path / "cat", None)
    with watched(folder):
        shutil.copytree(folder, tmp_path / "copy")

        assert state(tmp_path / "copy") is RunState.INTERRUPTED
        assert state(folder) is RunState.RUNNING


@only_linux
@pytest.mark.parametrize(
    ("facts", "is_local", "expected"),
    [
        ({}, False, RunState.RUNNING),
        ({"created": 1.0}, False, RunState.RUNNING),
        ({"ticks": 1}, False, RunState.INTERRUPTED),
        ({"pid": NOBODY}, False, RunState.INTERRUPTED),
        ({"space": "pid:[1]"}, False, RunState.UNKNOWN),
        ({"boot": "another"}, True, RunState.INTERRUPTED),
        ({"boot": "another"}, False, RunState.UNKNOWN),  # another computer may have the same name
        ({"boot": "another", "host": "elsewhere"}, True, RunState.UNKNOWN),
    ],
)
def test_on_a_drive_without_locks_what_is_noted_decides(
    tmp_path: Path, facts: dict[str, object], is_local: bool, expected: RunState, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_handle: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(run_owner, "lock_now", none)
    monkeypatch.setattr(run_owner, "look_now", none)
    monkeypatch.setattr(run_owner, "_is_local", lambda _folder: is_local)
    folder = keep(tmp_path / "cat", None)
    with run_owner.hold(folder) as lock:
        assert lock is None
    noted(folder, locked=False, **facts)

    assert state(folder) is expected


@only_linux
@pytest.mark.parametrize(("is_local", "expected"), [(True, RunState.INTERRUPTED), (False, RunState.UNKNOWN)])
def test_a_free_lock_says_nothing_of_another_computer_on_a_shared_drive(
    tmp_path: Path, is_local: bool, expected: RunState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_owner, "_is_local", lambda _folder: is_local)
    folder = keep(tmp_path / "cat", None)
    (folder / record.LOCK).touch()
    noted(folder, boot="another", host="tower")

    assert state(folder) is expected


@only_linux
def test_a_run_that_another_computer_may_train_is_left_alone_unless_a_person_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_owner, "_is_local", lambda _folder: False)
    folder = keep(tmp_path / "cat", None)
    noted(folder, boot="another", host="tower")
    entry = history.load(folder)
    found = removal.problem(entry)

    assert found is not None
    assert "it was started on tower, and this computer can't see whether it is still running there" in found.message
    assert found.hint == f"check there first; if it has ended: sdxl-train runs rm {folder} --force"
    with pytest.raises(UsageError, match="started on tower"):
        removal.remove(removal.plan_deletion(entry, keep_result=False))
    removal.remove(removal.plan_deletion(entry, keep_result=False), force=True)
    assert not folder.exists()


def test_two_watchers_of_one_run_are_impossible(tmp_path: Path) -> None:
    folder = keep(tmp_path / "cat", None)
    with watched(folder), pytest.raises(UsageError, match="cat is running"), run_owner.hold(folder):
        pass
    with run_owner.hold(folder) as lock:
        assert lock is not None


def test_whoever_lists_runs_keeps_nobody_from_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look holds the lock for a moment."""
    refused = [BlockingIOError(11, "busy")] * 3
    lock = run_owner.lock_now

    def busy(handle: int) -> None:
        if refused:
            raise refused.pop()
        lock(handle)

    monkeypatch.setattr(run_owner, "lock_now", busy)
    with run_owner.hold(keep(tmp_path / "cat", None)) as held:
        assert held is not None


@only_posix
def test_many_who_look_at_once_all_see_a_dead_run_dead(tmp_path: Path) -> None:
    """Once, a look kept other looks from the lock, and each of those took it for a run."""
    folder = keep(tmp_path / "cat", None)
    (folder / record.LOCK).touch()
    with ThreadPoolExecutor(4) as lookers:
        seen = list(lookers.map(lambda _each: run_owner.liveness(folder, None), range(4000)))

    assert set(seen) == {run_owner.Liveness.GONE}


@only_posix
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to(path.parent.parent / "mine"), os.mkdir])
def test_what_lies_in_the_locks_place_is_neither_opened_nor_followed(tmp_path: Path, make: object) -> None:
    (tmp_path / "mine").write_text("precious", encoding="utf-8")
    folder = keep(tmp_path / "cat", None)
    make(folder / record.LOCK)  # type: ignore[operator]

    with pytest.raises(UsageError, match="can't be locked"), run_owner.hold(folder):
        pass
    assert state(folder) is RunState.INTERRUPTED
    assert (tmp_path / "mine").read_text(encoding="utf-8") == "precious"


@only_posix
def test_a_lock_that_may_only_be_read_tells_too(tmp_path: Path) -> None:
    folder = keep(tmp_path / "cat", None)
    with watched(folder):
        (folder / record.LOCK).chmod(0o400)

        assert state(folder) is RunState.RUNNING


@only_posix
def test_the_lock_outlives_its_watcher_until_the_trainer_is_dead(tmp_path: Path) -> None:
    """A run that is resumed while its old trainer is still being ended would be trained twice."""
    folder = keep(tmp_path / "cat", None)
    parent = textwrap.dedent("""
        import sys
        from pathlib import Path
        from sdxl_train_cli import process
        from sdxl_train_cli.records import runs
        process._GUARD = Path(sys.argv[2])
        with runs.running(runs.Run(Path(sys.argv[1]), "cat")) as lock:
            with process.Child([sys.executable, "-c", sys.argv[3]], held=lock) as child:
                for line in filter(None, child.lines()):
                    print(line, flush=True)
    """)
    trainer = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    trainer += "files = os.listdir('/proc/self/fd') if os.path.isdir('/proc/self/fd') else [];"
    trainer += "print(os.getpid(), files, flush=True); time.sleep(600)"
    guard = tmp_path / "guard.py"
    source = Path(process.__file__).with_name("process_guard.py").read_text(encoding="utf-8")
    guard.write_text(source.replace("GRACE_SECONDS = 10.0", "GRACE_SECONDS = 2.0"), encoding="utf-8")
    argv = [sys.executable, "-c", parent, str(folder), str(guard), trainer]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as watcher:
        assert watcher.stdout is not None
        pid, files = watcher.stdout.readline().decode().split(" ", 1)
        assert len(json.loads(files.replace("'", '"'))) in {
            0,
            4,
        }  # its streams, of which one is the lock, and the folder that it lists
        watcher.send_signal(signal.SIGKILL)
        watcher.wait(PATIENCE_SECONDS)
        assert lives(int(pid))
        assert state(folder) is RunState.RUNNING
        until(lambda: not lives(int(pid)))
        until(lambda: state(folder) is RunState.INTERRUPTED)


SUPERVISOR = """
import sys
from pathlib import Path
from sdxl_train_cli import process
from sdxl_train_cli.records import runs
with runs.running(runs.Run(Path(sys.argv[1]), "cat")) as lock:
    launcher = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    argv = [sys.executable, "-c", launcher, sys.argv[2]]
    with process.Child(argv, held=lock if sys.argv[3] == "lock" else None) as child:
        print(child.pid, flush=True)
        for line in filter(None, child.lines()):
            print(line, flush=True)
"""
LEFT = "import os, time; print(os.getppid(), os.getpid(), flush=True); time.sleep(600)"


@contextmanager
def left_behind(folder: Path, held: str) -> Iterator[int]:
    """A trainer whose guard, supervisor and launcher were killed one by one."""
    argv = [sys.executable, "-c", SUPERVISOR, str(folder), LEFT, held]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        guard, told = int(supervisor.stdout.readline()), supervisor.stdout.readline()
        launcher, trainer = map(int, told.split())
        try:
            for pid in (guard, supervisor.pid, launcher):
                os.kill(pid, signal.SIGKILL)
            supervisor.wait(PATIENCE_SECONDS)
            until(lambda: not lives(launcher))
            yield trainer
        finally:
            with suppress(ProcessLookupError):
                os.kill(trainer, signal.SIGKILL)


@only_posix
@pytest.mark.parametrize("held", ["lock", "nothing"])
def test_a_trainer_that_has_outlived_guard_and_supervisor_keeps_its_run_until_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    """Of "nothing" it holds no lock, as on Windows, and is found by its mark."""
    monkeypatch.setattr(run_owner, "_TRAINER_HOLDS", held == "lock")
    folder = keep(tmp_path / "cat", None)
    with left_behind(folder, held) as trainer:
        assert state(folder) is RunState.RUNNING
        with pytest.raises(UsageError, match="cat is running") as refused, run_owner.hold(folder):
            pass
        hint = refused.value.problems[0].hint
        assert hint == f"to end it: kill {trainer}"
        found = in_use.still_running(history.load(folder), force=False, command="resume")
        assert found is not None
        assert found.hint == hint
        os.kill(trainer, signal.SIGTERM)
        until(lambda: not lives(trainer))

        until(lambda: state(folder) is RunState.INTERRUPTED)
        with run_owner.hold(folder):
            pass


@only_posix
def test_a_trainer_left_behind_is_found_on_a_drive_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = keep(tmp_path / "cat", None)
    with left_behind(folder, "nothing") as trainer:
        for name in ("lock_now", "look_now"):
            monkeypatch.setattr(run_owner, name, no_locks)
        assert state(folder) is RunState.RUNNING
        with pytest.raises(UsageError, match="cat is running"), run_owner.hold(folder):
            pass
        os.kill(trainer, signal.SIGKILL)
        until(lambda: state(folder) is RunState.INTERRUPTED)


def no_locks(_handle: int) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def test_what_is_noted_is_ours(tmp_path: Path) -> None:
    run = Run(keep(tmp_path / "cat", None), "cat")
    with run_owner.hold(run.folder) as lock, run_owner.read_noted(run.folder, lock):
        told = json.loads(run.alive.read_text(encoding="utf-8"))

    assert (told["pid"], told["locked"]) == (os.getpid(), True)
    assert told["created"] == pytest.approx(psutil.Process().create_time(), abs=2)
    assert not run.alive.exists()


@pytest.mark.parametrize("marks", ["", "1-", "1-2-", "x"])
def test_a_foreign_note_makes_no_process_a_trainer(tmp_path: Path, marks: str) -> None:
    """An empty mark would be the beginning of every process's, and the hint would tell to kill them all."""
    folder = keep(tmp_path / "cat", None)
    write_json(folder / record.RUNNING, {"pid": NOBODY, "created": 1.0, "marks": marks})

    assert state(folder) is (RunState.INTERRUPTED if marks == "1-2-" else RunState.BROKEN)
    assert "kill" not in str(run_owner.running_problem(folder, "cat").hint)


def test_a_run_of_a_job_of_slurm_is_told_with_what_ends_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "28")
    with run_owner.hold(tmp_path) as lock, run_owner.read_noted(tmp_path, lock):
        problem = run_owner.running_problem(tmp_path, "cat")

    assert (problem.message, "scancel 28" in str(problem.hint)) == ("cat is running", True)
    assert "scancel" not in str(run_owner.running_problem(tmp_path, "cat").hint)
