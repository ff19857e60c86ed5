"""Start one command, and end everything that it has started when the parent goes away, however that happens.

Run by path with the standard library alone. Standard input is a pipe that only the parent holds; its end means that the
parent is gone. That includes a kill -9, which no signal handler and no `finally` could see. A signal to the group is
meant for the command: the guard survives it and reports how the command ended.

`--held=N` before the command is a lock of the parent's: an open file without content, which becomes the command's
standard input. Every process that the command starts inherits it, however it is launched. So the lock is free when the
last of them has ended, even if parent and guard were killed before.

On Linux the guard adopts orphans. So it can end a process that has left the group. If a launcher is killed and the
trainer keeps running, the guard waits for the trainer and reports how that ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

GRACE_SECONDS = 10.0
KILL_SECONDS = 5.0
NOT_FOUND, NOT_STARTED = 127, 126
"""Exit codes for a command that can't be started, as in a shell."""
WINDOWS = sys.platform == "win32"
LINUX = sys.platform == "linux"
OUTLIVED = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")
HELD = "--held="
_PR_SET_CHILD_SUBREAPER = 36


def _inherit_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes  # noqa: PLC0415 - only needed on Linux

        number, nothing = ctypes.c_ulong, ctypes.c_ulong(0)
        ctypes.CDLL(None).prctl(ctypes.c_int(_PR_SET_CHILD_SUBREAPER), number(1), nothing, nothing, nothing)


def _living() -> list[tuple[int, int, int]]:
    """Every living process: its ID, its parent's ID and its session."""
    found = []
    for name in os.listdir("/proc") if LINUX else ():  # noqa: PTH208 - fewer imports start faster
        if name.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError):
                with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 - as above
                    state, parent, _, session = file.read().rpartition(b")")[2].split()[:4]
                if state not in {b"Z", b"X"}:
                    found.append((int(name), int(parent), int(session)))
    return found


def _descendants() -> list[int]:
    """All living descendants of this process."""
    below, parents = list[int](), {os.getpid()}
    living = _living()
    while parents:
        parents = {pid for pid, parent, _ in living if parent in parents}
        below += parents
    return below


def _end_all(child: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(child.pid)], check=False, capture_output=True)  # noqa: S603, S607
        return
    os.killpg(0, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(GRACE_SECONDS)
    end = time.monotonic() + KILL_SECONDS
    while (left := _descendants()) and time.monotonic() < end:
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
    os.killpg(0, signal.SIGKILL)


def _watch_parent(child: subprocess.Popen[bytes], gone: threading.Event) -> None:
    while os.read(0, 1024):
        pass
    gone.set()
    _end_all(child)


def _code_of_orphans(code: int) -> int:
    """Exit code of what a killed launcher left in our session, once that has ended; otherwise the launcher's own."""
    if sys.platform == "win32":
        return code
    ours, session = os.getpid(), os.getsid(0)
    for pid in [pid for pid, parent, of in _living() if parent == ours and of == session]:
        with contextlib.suppress(ChildProcessError):
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code


def main() -> int:
    """Run the command of argv. Returns its exit code, 128+n if signal n ended it, 126 or 127 if it can't start."""
    for signum in () if WINDOWS else [getattr(signal, name) for name in OUTLIVED]:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, lambda _signum, _frame: None)  # a handler: the command would inherit SIG_IGN
    if LINUX:
        _inherit_orphans()
    gone, argv = threading.Event(), sys.argv[1:]
    held = int(argv.pop(0).removeprefix(HELD)) if argv[0].startswith(HELD) else None
    try:
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - as above
            child = subprocess.Popen(argv, stdin=nothing if held is None else held)  # noqa: S603
    except OSError as error:
        sys.stderr.write(f"{argv[0]} can't be started: {error.strerror}\n")
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_STARTED
    watcher = threading.Thread(target=_watch_parent, args=(child, gone), daemon=True)
    watcher.start()
    code = child.wait()
    if code < 0 and LINUX and not gone.is_set():
        code = _code_of_orphans(code)
    if gone.is_set():
        watcher.join()  # a launcher dies of the first signal; its trainer may not
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main())
