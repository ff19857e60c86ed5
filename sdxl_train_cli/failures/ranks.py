"""Of a training in several processes, the lines of the one that failed first: the others only lost it."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PREFIX = re.compile(r"^\[rank(\d{1,5})\]: ")
"""What torch writes before each line of a traceback."""
_FIRST = re.compile(r"Root Cause \(first observed failure\)")
_RANK = re.compile(r"^\s*rank\s*: (\d{1,5}) \(local_rank")
_LOST = re.compile(r"Connection (?:closed|reset) by peer|remote process exited|ncclRemoteError|Broken pipe")
_NEAR = 6
"""Lines of torchrun's report of one failure."""


def of_the_first(lines: Sequence[str]) -> list[str]:
    """All lines but those of processes that failed because another one had."""
    by_rank: dict[str, list[str]] = {}
    for line in lines:
        match = _PREFIX.match(line)
        if match:
            by_rank.setdefault(match[1], []).append(line)
    if not by_rank:
        return list(lines)
    own_fault = [rank for rank, said in by_rank.items() if not any(map(_LOST.search, said))]
    named = _named(lines)
    first = named if named in own_fault or not own_fault else own_fault[0]
    return [line for line in lines if (match := _PREFIX.match(line)) is None or match[1] == (first or match[1])]


def _named(lines: Sequence[str]) -> str | None:
    """The process that torchrun names as the first."""
    starts = [number for number, line in enumerate(lines) if _FIRST.search(line)]
    told = lines[starts[-1] : starts[-1] + _NEAR] if starts else ()
    return next((match[1] for line in told if (match := _RANK.match(line))), None)
