"""Turn signals that ask us to stop into an exception."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
"""Ctrl-C, a request to end, a closed terminal, and Ctrl-Break. No system has all of them."""


class Stopped(BaseException):
    """A signal asked us to stop.

    Not a KeyboardInterrupt, which command-line libraries turn into their own exit code.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class _Handler:
    """Raises Stopped; where that has to wait, keeps the signal until then."""

    def __init__(self, *, once: bool = False) -> None:
        self.holders = 0
        self.came: list[int] = []
        self._once = once
        self._has_raised = False

    def __call__(self, signum: int, _frame: object) -> None:
        if self.holders:
            self.came.append(signum)
        elif not (self._once and self._has_raised):
            self._has_raised = True
            raise Stopped(signum)


def raise_stopped() -> None:
    """Raise Stopped on each of these signals from now on, unless it is ignored (nohup)."""
    handler = _Handler()
    for name in NAMES:
        signum = getattr(signal, name, None)
        if signum is not None and signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, handler)


def raise_stopped_once() -> None:
    """As above, but for the first signal only: a cluster sends several, and kills what takes too long by itself."""
    handler = _Handler(once=True)
    for each in [signal.Signals[name] for name in NAMES if name in signal.Signals.__members__]:
        signal.signal(each, handler)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Raise Stopped only at the end of the block, where it would leave something half done.

    Signals are handled by the main thread, so in any other there is nothing to hold.
    """
    found = [signal.getsignal(getattr(signal, name)) for name in NAMES if hasattr(signal, name)]
    handler = next((each for each in found if isinstance(each, _Handler)), None)
    if handler is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    handler.holders += 1
    try:
        yield
    finally:
        handler.holders -= 1
    if handler.came and not handler.holders:
        first = handler.came[0]
        handler.came.clear()
        handler(first, None)
