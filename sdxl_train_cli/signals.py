"""Turn signals that ask us to stop into an exception."""

from __future__ import annotations

import signal

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
"""Ctrl-C, a request to end, a closed terminal, and Ctrl-Break. No system has all of them."""


class Stopped(BaseException):
    """A signal asked us to stop.

    Not a KeyboardInterrupt, which command-line libraries turn into their own exit code.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def raise_stopped() -> None:
    """Raise Stopped on each of these signals from now on, unless it is ignored (nohup)."""

    def stop(signum: int, _frame: object) -> None:
        raise Stopped(signum)

    for name in NAMES:
        signum = getattr(signal, name, None)
        if signum is not None and signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, stop)


def raise_stopped_once() -> None:
    """As above, but for the first signal only: a cluster sends several, and kills what takes too long by itself."""

    def stop(signum: int, _frame: object) -> None:
        for each in taken:
            signal.signal(each, lambda *_: None)
        raise Stopped(signum)

    taken = [signal.Signals[name] for name in NAMES if name in signal.Signals.__members__]
    for each in taken:
        signal.signal(each, stop)
