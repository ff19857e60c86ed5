"""Waiting for another process without guessing how fast it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import psutil

PATIENCE_SECONDS = 60.0
"""Generous: a busy machine must not fail a test."""

T = TypeVar("T")


def until(found: Callable[[], T]) -> T:
    """Ask again and again until the answer is true, and give it."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not (answer := found()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return answer


def lives(pid: int) -> bool:
    """Whether the process still runs; one that only waits to be buried does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def processes_with(words: str) -> list[int]:
    """The processes with these words somewhere in their command line."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = process.info["cmdline"] or []
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(words in word for word in line):
            found.append(process.pid)
    return found
