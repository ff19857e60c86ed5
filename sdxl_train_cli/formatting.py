"""Sizes, durations and moments as people write them, command lines as their shell takes them, names that were meant."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterable, Sequence
from datetime import datetime
from subprocess import list2cmdline

from sdxl_train_cli import visible

_LONGEST_NAME = 100
"""Of what may be a misspelt name: comparing takes time by the square of the length."""


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
    """Hours, minutes and seconds, hours where there are any; nothing where it is not known."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def moment(when: datetime | None) -> str:
    """Day and minute on this machine's clock; nothing where it is not known."""
    return "" if when is None else f"{when.astimezone():%Y-%m-%d %H:%M}"


def shell_line(words: Sequence[object], *, windows: bool = os.name == "nt") -> str:
    """A command line to type: this system's shell takes each word as it is."""
    texts = [str(word) for word in words]
    return list2cmdline(texts) if windows else " ".join(map(_quoted, texts))


def _quoted(word: str) -> str:
    """A word for a POSIX shell; with letters that no terminal may get, as $'...', which names them by number."""
    if visible.line(word) == word:
        return shlex.quote(word)
    return "$'" + "".join(map(_named, word)) + "'"


def _named(letter: str) -> str:
    if letter in "\\'":
        return f"\\{letter}"
    if visible.line(letter) == letter:
        return letter
    is_byte = "\udc80" <= letter <= "\udcff"  # of a name that is no UTF-8
    # Octal: three digits at most, where \x takes all that follow in some shells.
    return "".join(
        f"\\{byte:03o}" for byte in letter.encode("utf-8", "surrogateescape" if is_byte else "surrogatepass")
    )


def shell_word(word: object) -> str:
    """A path or a name within a line to type."""
    return shell_line([word])


def cut(text: str, longest: int = 80) -> str:
    """The text, or its head and its tail where it is longer."""
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]} ... {text[-half:]}"


def suggestion(name: str, known: Iterable[str], most: int = 3) -> str | None:
    """`did you mean a or b?`, of the names that are most like it; None where none is."""
    import difflib  # noqa: PLC0415 - only what is misspelt pays for it

    if len(name) > _LONGEST_NAME:
        return None
    close = difflib.get_close_matches(name, [one for one in known if len(one) <= _LONGEST_NAME], n=most)
    return f"did you mean {' or '.join(close)}?" if close else None
