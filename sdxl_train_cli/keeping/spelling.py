"""Sizes, durations and moments as people write them."""

from __future__ import annotations

import math
from datetime import datetime


def size(size_bytes: int) -> str:
    """Bytes in powers of 1000, as file managers and model sites do."""
    number, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 1000:  # noqa: PLR2004 - the unit's own step
            break
        number, unit = number / 1000, larger
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"


def counted(count: int, noun: str) -> str:
    """`1 batch`, `2 batches`, `2 pictures`."""
    ending = "" if count == 1 else "es" if noun.endswith("ch") else "s"
    return f"{count} {noun}{ending}"


def clock(seconds: float | None) -> str:
    """Hours, minutes and seconds; nothing where it is not known."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def moment(when: datetime | None) -> str:
    """Day and minute on this machine's clock; nothing where it is not known."""
    return "" if when is None else f"{when.astimezone():%Y-%m-%d %H:%M}"
