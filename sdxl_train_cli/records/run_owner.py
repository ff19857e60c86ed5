"""The process that supervises a run: it holds a lock and a note in the run's folder, so that others see it.

The lock decides: the system releases it when the supervisor and every process of its trainer are dead, however that
happens, independent of the clock. The note counts where locks do not work: on drives without them, and for runs of
another computer. On Windows a lock ends with the supervisor, so that a trainer which outlives it is looked for.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path

import psutil

from sdxl_train_cli import files, process_family
from sdxl_train_cli.errors import Problem, UsageError
from sdxl_train_cli.records import record
from sdxl_train_cli.records.record import Supervisor

if sys.platform == "win32":
    import msvcrt

    def lock_now(handle: int) -> None:
        """Take the lock; OSError where another has it, or this drive knows none."""
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

    def look_now(handle: int) -> None:
        """As `lock_now`: Windows' own locks are never shared."""
        lock_now(handle)

    _LOOK_SECONDS = 0.2
    """Another look, which holds the lock for a moment, is no run."""
else:
    import fcntl

    def lock_now(handle: int) -> None:
        """Take the lock; OSError where another has it, or this drive knows none."""
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def look_now(handle: int) -> None:
        """Share the lock with others who look; OSError where a run has it, or this drive knows none."""
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)

    _LOOK_SECONDS = 0.0

_TRAINER_HOLDS = sys.platform != "win32"
"""Whether a trainer that outlives its supervisor still holds the lock (process_guard)."""

_PATIENCE_SECONDS = 1.0
"""Listing runs takes a lock for a moment, to see whether it is free."""
_SAME_BIRTH_SECONDS = 2.0
"""Tolerance between two readings of a process's start time. Older records have nothing more precise."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_SPACE = Path("/proc/self/ns/pid")
_LOCAL = frozenset(
    "apfs bcachefs btrfs ext2 ext3 ext4 f2fs hfs ntfs ntfs3 overlay tmpfs vfat xfs zfs".split()  # noqa: SIM905
)
"""File systems that only one computer writes to, so that its locks are complete.

An overlay counts, as its writable layer is local whatever is below.
"""


class Liveness(Enum):
    """Whether a run is supervised."""

    ALIVE = "alive"
    GONE = "gone"
    UNKNOWN = "unknown"
    """Another computer may supervise it, which can't be checked from here."""


class _Lock(Enum):
    HELD = "held"
    FREE = "free"
    SILENT = "silent"
    """There is no lock, or the drive does not support locks."""


@contextlib.contextmanager
def hold(folder: Path, busy: Problem | None = None) -> Iterator[int | None]:
    """Lock a run for the duration of the block. UsageError, `busy` if given, where another process has it.

    Yields the lock's handle for a process that must keep it after our death, or None on a drive without locks. The file
    remains: deleting it would let two processes believe that they hold it.
    """
    path = folder / record.LOCK
    try:
        handle = _open(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise UsageError(
            f"{path} can't be locked: {error.strerror}",
            "check its permissions: this lock keeps a run from being trained twice",
        ) from error
    try:
        found = _taken(handle, lock_now, _PATIENCE_SECONDS)
        if found is _Lock.HELD or _life(folder, _noted(folder), found) is Liveness.ALIVE:
            raise UsageError(busy or running_problem(folder, folder.name))
        yield handle if found is _Lock.FREE else None
    finally:
        os.close(handle)


@contextlib.contextmanager
def read_noted(folder: Path, lock: int | None) -> Iterator[None]:
    """Record the supervising process in the run's folder for the duration of the block."""
    path = folder / record.RUNNING
    with contextlib.suppress(OSError):  # a full disk: the lock suffices
        files.write(path, current_process(is_locked=lock is not None).model_dump_json(indent=1) + "\n")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def alone(folder: Path, busy: Problem) -> Iterator[None]:
    """Be the only process that holds the folder for the duration of the block. UsageError `busy` if another does."""
    if is_held(folder):
        raise UsageError(busy)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} can't be made: {error.strerror}", "check its permissions") from error
    with hold(folder, busy) as lock, read_noted(folder, lock):
        yield


def liveness(folder: Path, noted: Supervisor | None) -> Liveness:
    """Whether a folder's run is supervised, or its trainer goes on, according to its lock and its note."""
    return _life(folder, noted, _look(folder / record.LOCK))


def running_problem(folder: Path, name: str) -> Problem:
    """What to say of a run that is alive, and how to end it."""
    noted = _noted(folder)
    is_left = noted is not None and _is_here(noted) and not _lives(noted)
    pids = [process.pid for process in _orphans(noted)] if noted is not None and is_left else []
    if not pids:
        job = "" if noted is None or noted.slurm is None else f", or end its job of Slurm: scancel {noted.slurm}"
        return Problem(f"{name} is running", f"stop it first with Ctrl-C where it runs{job}")
    kill = "taskkill /F" if sys.platform == "win32" else "kill"
    command = " ".join([kill, *(f"/PID {pid}" if sys.platform == "win32" else str(pid) for pid in pids)])
    return Problem(f"{name} is running: its trainer has outlived the command that started it", f"to end it: {command}")


def _life(folder: Path, noted: Supervisor | None, lock: _Lock) -> Liveness:
    if lock is _Lock.HELD:
        return Liveness.ALIVE
    if noted is None:
        return Liveness.GONE
    is_told = lock is _Lock.FREE and noted.locked
    if _is_here(noted):
        return _life_here(noted, is_told=is_told)
    if noted.slurm is not None:  # a node holds its lock through the network, which the drive's own computer may not see
        return Liveness.UNKNOWN
    if (is_told or noted.host == _host()) and _is_local(folder):
        return Liveness.GONE  # this computer has rebooted since
    return Liveness.UNKNOWN


def is_held(folder: Path) -> bool:
    """Whether a process is known to hold the folder, by its lock, or by its note where locks do not work."""
    return liveness(folder, _noted(folder)) is Liveness.ALIVE


def forget_other_node(folder: Path) -> None:
    """Remove the note of a job of Slurm that ran on another node. For the job that Slurm has started in its place."""
    path = folder / record.RUNNING
    with contextlib.suppress(OSError, ValueError):  # pydantic's errors are ValueErrors
        noted = Supervisor.model_validate(files.read_json(path))
        if noted.slurm is not None and not _is_here(noted) and _look(folder / record.LOCK) is not _Lock.HELD:
            path.unlink()


def forget_dead(folder: Path) -> None:
    """Remove the note of a process that is gone, which another computer could not see."""
    noted = _noted(folder)
    if noted is not None and liveness(folder, noted) is Liveness.GONE:
        (folder / record.RUNNING).unlink(missing_ok=True)


def process_of(folder: Path) -> int | None:
    """ID of the process that a folder's note names. None without a note, or if that process is gone."""
    noted = _noted(folder)
    return noted.pid if noted is not None and _is_here(noted) and _lives(noted) else None


def _noted(folder: Path) -> Supervisor | None:
    with contextlib.suppress(OSError, ValueError):  # pydantic's errors are ValueErrors
        return Supervisor.model_validate(files.read_json(folder / record.RUNNING))
    return None


def _life_here(noted: Supervisor, *, is_told: bool) -> Liveness:
    """Judge a run of this computer. `is_told`: its lock is free."""
    if is_told and _TRAINER_HOLDS:
        return Liveness.GONE
    if noted.space not in {None, _space()}:
        return Liveness.GONE if is_told else Liveness.UNKNOWN  # another PID namespace, with its own process IDs
    is_alive = bool(_orphans(noted)) or (not is_told and _lives(noted))
    return Liveness.ALIVE if is_alive else Liveness.GONE


def _orphans(noted: Supervisor) -> list[psutil.Process]:
    """What a process that is gone has started and left."""
    is_its_own = noted.marks is not None and noted.marks.startswith(f"{noted.pid}-")
    return process_family.members(noted.marks) if noted.marks is not None and is_its_own else []


def current_process(*, is_locked: bool) -> Supervisor:
    """The note about this process."""
    pid = os.getpid()
    created = psutil.Process(pid).create_time()
    return Supervisor(
        pid=pid, created=created, host=_host(), boot=_boot(), ticks=process_family.ticks(pid), space=_space(),
        locked=is_locked, slurm=_slurm_job(), marks=process_family.marks_of_this_process(),
    )  # fmt: skip


def _open(path: Path, flags: int) -> int:
    """Open a regular file that children do not inherit. OSError for a link, a pipe and anything else."""
    extra = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    handle = os.open(path, flags | extra, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    return handle


def _taken(handle: int, take: Callable[[int], None], patience_seconds: float) -> _Lock:
    """Try to take the lock. FREE if `take` succeeded."""
    end = time.monotonic() + patience_seconds
    while True:
        try:
            take(handle)
        except (BlockingIOError, PermissionError):  # the second is Windows'
            if time.monotonic() >= end:
                return _Lock.HELD
            time.sleep(0.02)
        except OSError:
            return _Lock.SILENT
        else:
            return _Lock.FREE


def _look(path: Path) -> _Lock:
    handle = None
    for flags in (os.O_RDWR, os.O_RDONLY):  # some drives only lock files opened for writing
        try:
            handle = _open(path, flags)
            break
        except OSError:
            continue
    if handle is None:
        return _Lock.SILENT
    try:
        return _taken(handle, look_now, _LOOK_SECONDS)
    finally:
        os.close(handle)


def _is_here(noted: Supervisor) -> bool:
    """Whether the note is from this computer and, if known, from its current boot."""
    return noted.boot == _boot() if noted.boot is not None else noted.host in {None, _host()}


def _lives(noted: Supervisor) -> bool:
    """Whether the process exists and is not a later one with the same ID."""
    try:
        process = psutil.Process(noted.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        ticks = process_family.ticks(noted.pid)
        if noted.ticks is not None and ticks is not None:
            return noted.ticks == ticks
        return noted.created is not None and abs(process.create_time() - noted.created) < _SAME_BIRTH_SECONDS
    except psutil.AccessDenied:
        return True
    except (psutil.Error, ValueError, OverflowError):
        return False


def _host() -> str:
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")


def _slurm_job() -> str | None:
    """The job of Slurm that this process runs in: `12`, or `12_3` for an element of an array."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID')}" if array else os.environ.get("SLURM_JOB_ID")


def _boot() -> str | None:
    """Boot ID. None outside Linux, where a process's start time does not depend on the clock."""
    with contextlib.suppress(OSError):
        return _BOOT.read_text(encoding="ascii").strip()
    return None


def _space() -> str | None:
    """PID namespace: a container numbers its own processes."""
    with contextlib.suppress(OSError):
        return str(_SPACE.readlink())
    return None


def _is_local(folder: Path) -> bool:
    """Whether no other computer can access the folder's drive."""
    with contextlib.suppress(OSError, psutil.Error):
        whole = folder.resolve()
        mounted = [part for part in psutil.disk_partitions(all=True) if whole.is_relative_to(part.mountpoint)]
        # Of two mounts at one place, the later one hides the earlier.
        nearest = max(enumerate(mounted), key=lambda each: (len(each[1].mountpoint), each[0]), default=None)
        return nearest is not None and nearest[1].fstype.lower() in _LOCAL
    return False
