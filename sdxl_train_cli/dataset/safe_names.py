"""File names that are valid and distinct on every file system."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from pathvalidate import sanitize_filename

LONGEST_STEM = 180
"""Limit in bytes: sd-scripts appends up to 30 for its caches, and file systems allow 255."""


def safe(name: str) -> str:
    """The name with characters replaced that Windows or a line of text can't hold. Never empty."""
    readable = name.encode("utf-8", "replace").decode()  # a name that is no UTF-8 has lone surrogates
    plain = sanitize_filename(readable, replacement_text="_", platform="universal", max_len=LONGEST_STEM)
    short = plain.encode()[:LONGEST_STEM].decode("utf-8", "ignore").strip(". ")
    return short or "_"


class UniqueNames:
    """Names in use in one folder."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {_key(name) for name in taken}

    def take(self, name: str) -> str:
        """Reserve the name, or `name-2` and so on if it is in use. Names that differ only in case collide."""
        free, number = name, 1
        while _key(free) in self._taken:
            number += 1
            free = f"{name}-{number}"
        self._taken.add(_key(free))
        return free


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
