"""Who watches a run: locked and noted in its folder while it goes on, and told from the dead by whoever looks.

The lock decides: the system takes it from a process that dies, however it dies, and no clock is asked. What is noted
beside it counts where a lock says nothing: on a drive without locks, and for a run of another computer.
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

from sdxl_train_cli import files
from sdxl_train_cli.errors import UsageError
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


_PATIENCE_SECONDS = 1.0
"""Whoever lists runs holds a lock for a moment, to see whether it is free."""
_SAME_BIRTH_SECONDS = 2.0
"""Two readings of one process's birth differ by less; older records tell nothing better."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_SPACE = Path("/proc/self/ns/pid")
_LOCAL = frozenset(
    "apfs bcachefs btrfs ext2 ext3 ext4 f2fs hfs ntfs ntfs3 overlay tmpfs vfat xfs zfs".split()  # noqa: SIM905
)
"""File systems that one computer alone writes to, so that its locks are all the locks there are.

Of an overlay the layer that is written to is, whatever lies below.
"""


class Liveness(Enum):
    """Whether a run is watched."""

    ALIVE = "alive"
    GONE = "gone"
    UNKNOWN = "unknown"
    """Another computer may watch it, which can't be seen from here."""


class _Lock(Enum):
    HELD = "held"
    FREE = "free"
    SILENT = "silent"
    """No lock is there, or this drive knows none."""


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[int | None]:
    """Keep a run to ourselves for as long as the block lasts; UsageError where somebody else has it.

    Gives the lock's handle for a process that has to keep it after our death, None on a drive that knows no locks.
    The file stays: taking it away would let two at once believe that they hold it.
    """
    path = folder / record.LOCK
    try:
        handle = _open(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise UsageError(
            f"{path} can't be locked: {error.strerror}", "a run is kept from being trained twice by this file"
        ) from error
    try:
        found = _taken(handle, lock_now, _PATIENCE_SECONDS)
        if found is _Lock.HELD:
            raise UsageError(f"{folder.name} is running", "stop it first: Ctrl-C where it runs")
        yield handle if found is _Lock.FREE else None
    finally:
        os.close(handle)


@contextlib.contextmanager
def note_supervisor(folder: Path, lock: int | None) -> Iterator[None]:
    """Say in the run's folder who watches it, for as long as the block lasts."""
    path = folder / record.RUNNING
    with contextlib.suppress(OSError):  # a full disk: the lock tells all the same
        files.write(path, ourselves(is_locked=lock is not None).model_dump_json(indent=1) + "\n")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def liveness(folder: Path, noted: Supervisor | None) -> Liveness:
    """Whether the run of a folder is being watched, by its lock and what was noted beside it."""
    lock = _look(folder / record.LOCK)
    if lock is _Lock.HELD:
        return Liveness.ALIVE
    if noted is None:
        return Liveness.GONE
    is_told = lock is _Lock.FREE and noted.locked
    if _is_here(noted):
        return Liveness.GONE if is_told else _life_here(noted)
    if (is_told or noted.host == _host()) and _is_local(folder):
        return Liveness.GONE  # this computer has been started anew since
    return Liveness.UNKNOWN


def _life_here(noted: Supervisor) -> Liveness:
    """By the process alone, where no lock tells."""
    if noted.space not in {None, _space()}:
        return Liveness.UNKNOWN  # a container's: its process numbers are others
    return Liveness.ALIVE if _lives(noted) else Liveness.GONE


def ourselves(*, is_locked: bool) -> Supervisor:
    """What is noted of this process."""
    pid = os.getpid()
    created = psutil.Process(pid).create_time()
    return Supervisor(
        pid=pid, created=created, host=_host(), boot=_boot(), ticks=_ticks(pid), space=_space(), locked=is_locked
    )


def _open(path: Path, flags: int) -> int:
    """A plain file's handle, which no child inherits; OSError for a link, a pipe and all else."""
    extra = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    handle = os.open(path, flags | extra, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    return handle


def _taken(handle: int, take: Callable[[int], None], patience_seconds: float) -> _Lock:
    """FREE where `take` has taken it."""
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
    for flags in (os.O_RDWR, os.O_RDONLY):  # some drives lock only what may be written
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
    """Whether it was noted on this computer, since its last start where that can be told."""
    return noted.boot == _boot() if noted.boot is not None else noted.host in {None, _host()}


def _lives(noted: Supervisor) -> bool:
    """Whether the process is there, and is not a later one of the same number."""
    try:
        process = psutil.Process(noted.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        ticks = _ticks(noted.pid)
        if noted.ticks is not None and ticks is not None:
            return noted.ticks == ticks
        return noted.created is not None and abs(process.create_time() - noted.created) < _SAME_BIRTH_SECONDS
    except psutil.AccessDenied:
        return True
    except (psutil.Error, ValueError, OverflowError):
        return False


def _host() -> str:
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")


def _boot() -> str | None:
    """Which start of the computer this is. Outside Linux None: there, a process's birth is kept as it was told once."""
    with contextlib.suppress(OSError):
        return _BOOT.read_text(encoding="ascii").strip()
    return None


def _ticks(pid: int) -> int | None:
    """When a process was started, in clock ticks since the computer was: no change of the clock moves it."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return int(fields[19])  # field 22 of the whole line; its second one, the name, may hold blanks
    return None


def _space() -> str | None:
    """Which processes these numbers count: a container counts its own."""
    with contextlib.suppress(OSError):
        return str(_SPACE.readlink())
    return None


def _is_local(folder: Path) -> bool:
    """Whether no other computer can have the folder's drive open."""
    with contextlib.suppress(OSError, psutil.Error):
        whole = folder.resolve()
        mounted = [part for part in psutil.disk_partitions(all=True) if whole.is_relative_to(part.mountpoint)]
        # Of two at one place, the later hides the earlier.
        nearest = max(enumerate(mounted), key=lambda each: (len(each[1].mountpoint), each[0]), default=None)
        return nearest is not None and nearest[1].fstype.lower() in _LOCAL
    return False
