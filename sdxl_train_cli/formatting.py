"""Sizes, durations and times as people write them, shell-quoted command lines, suggestions for misspelled names."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterable, Sequence
from datetime import datetime
from subprocess import list2cmdline

from sdxl_train_cli import visible

_LONGEST_NAME = 100
"""Limit for a possibly misspelled name: comparison time grows with the square of its length."""


def size(size_bytes: int) -> str:
    """Bytes in powers of 1000, as file managers and model sites show them."""
    number, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 1000:  # noqa: PLR2004 - the unit's own step
            break
        number, unit = number / 1000, larger
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"


def counted(count: int, noun: str) -> str:
    """`1 batch`, `2 batches`, `2 pictures`."""
    ending = "" if count == 1 else "es" if noun.endswith("tch") else "s"
    return f"{count} {noun}{ending}"


def some(names: Sequence[str], most: int) -> str:
    """The names with commas between them; of many, the first ones and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def clock(seconds: float | None) -> str:
    """Hours, minutes and seconds; hours only if there are any. Empty if unknown."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def moment(when: datetime | None) -> str:
    """Day and minute in local time. Empty if unknown."""
    return "" if when is None else f"{when.astimezone():%Y-%m-%d %H:%M}"


def shell_line(words: Sequence[object], *, windows: bool = os.name == "nt") -> str:
    """A command line quoted for this system's shell."""
    texts = [str(word) for word in words]
    return list2cmdline(texts) if windows else " ".join(map(_quoted, texts))


def _quoted(word: str) -> str:
    """Quote a word for a POSIX shell. Characters unsafe for a terminal are written as escapes within $'...'."""
    if visible.line(word) == word:
        return shlex.quote(word)
    return "$'" + "".join(map(_named, word)) + "'"


def _named(letter: str) -> str:
    if letter in "\\'":
        return f"\\{letter}"
    if visible.line(letter) == letter:
        return letter
    is_byte = "\udc80" <= letter <= "\udcff"  # a byte of a name that is not UTF-8
    # Octal has at most three digits; in some shells \x consumes all following hex digits.
    return "".join(
        f"\\{byte:03o}" for byte in letter.encode("utf-8", "surrogateescape" if is_byte else "surrogatepass")
    )


def shell_word(word: object) -> str:
    """A path or name quoted for use in a command line."""
    return shell_line([word])


def cut(text: str, longest: int = 80) -> str:
    """The text, or its head and tail if it is too long."""
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]} ... {text[-half:]}"


def suggestion(name: str, known: Iterable[str], most: int = 3) -> str | None:
    """`did you mean a or b?` with the closest names, or None if none is close."""
    return did_you_mean(close(name, known, most))


def close(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The names that are most like this one, the closest first."""
    import difflib  # noqa: PLC0415 - only misspelled names pay for it

    if len(name) > _LONGEST_NAME:
        return []
    return difflib.get_close_matches(name, [one for one in known if len(one) <= _LONGEST_NAME], n=most)


def did_you_mean(names: Iterable[str]) -> str | None:
    """The question. None without a name."""
    found = list(names)
    return f"did you mean {' or '.join(found)}?" if found else None
