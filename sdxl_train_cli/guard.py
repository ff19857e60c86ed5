"""Start one command and take its whole process group down when the parent goes, however it goes.

Run by path with the standard library alone. Standard input is a pipe that only the parent holds: its end means that
the parent is gone. A kill -9 of the parent closes it too, which no signal handler and no `finally` could see.
A signal to the group is meant for the command: the guard outlives it and tells how the command ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

GRACE_SECONDS = 10.0
WINDOWS = sys.platform == "win32"


def _end_group(child: subprocess.Popen[bytes]) -> None:
    if WINDOWS:
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(child.pid)], check=False, capture_output=True)  # noqa: S603, S607
        return
    os.killpg(0, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)


def _watch_parent(child: subprocess.Popen[bytes], gone: threading.Event) -> None:
    while os.read(0, 1024):
        pass
    gone.set()
    _end_group(child)


def main() -> int:
    """Run the command of argv; give its exit code, or 128+n where signal n ended it."""
    if not WINDOWS:
        signal.signal(signal.SIGTERM, lambda _signum, _frame: None)  # a handler: the command would inherit SIG_IGN
    gone = threading.Event()
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - the lightest import list starts the fastest
        child = subprocess.Popen(sys.argv[1:], stdin=nothing)  # noqa: S603
    watcher = threading.Thread(target=_watch_parent, args=(child, gone), daemon=True)
    watcher.start()
    code = child.wait()
    if gone.is_set():
        watcher.join()  # a launcher dies of the first signal, and the trainer that it leaves may not
    return 128 - code if code < 0 else code


if __name__ == "__main__":
    sys.exit(main())
