"""Let one run make the caches that the points of a sweep share, while the others wait.

sd-scripts writes a cache in place, and one that is half written is broken to another run. A lock in the sweep's folder
is held from a run's check to its first step; it falls with its process. Once a run has come so far, nobody waits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from sdxl_train_cli import files

_LOCK, _MADE = "caches.lock", "caches-made"


def are_made(folder: Path) -> bool:
    """Whether a run of the sweep has made the caches."""
    return files.is_file(folder / _MADE)


@contextlib.contextmanager
def taken(folder: Path, say: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """Wait until the caches are made, or until it is this run's turn to make them, for the duration of the block.

    Call what is yielded once the run trains. OSError where the folder can't be written.
    """
    if are_made(folder):
        yield lambda: None
        return
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say("waiting for the caches that another run of the sweep makes")
        lock.acquire()
    try:
        if are_made(folder):
            lock.release()

        def pass_on() -> None:
            if lock.is_locked:
                with contextlib.suppress(OSError):
                    files.write(folder / _MADE, "")
                lock.release()

        yield pass_on
    finally:
        lock.release()
