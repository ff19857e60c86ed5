"""Take out of texts what tells of whoever made the file, and keep a list of what went."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

from sdxl_train_cli.lora_files import scrubbing, traces
from sdxl_train_cli.lora_files.scrubbing import Scrubbed
from sdxl_train_cli.lora_files.traces import KnownNames

_PIECES = re.compile(r"([,;\n]+)")
_NO_TEXT = {"Cc", "Cs", "Cn", "Co"}
"""Of Unicode: control characters, surrogates, and what is no character."""


@dataclass(frozen=True)
class LeftOut:
    """Something that is not shared."""

    where: str
    """What held it."""
    why: str


@dataclass
class Cleaner:
    """What counts as private, and what was left out so far."""

    known: KnownNames
    left_out: list[LeftOut] = field(default_factory=list)

    @classmethod
    def of(cls, known: KnownNames, texts: Iterable[str], allowed: Iterable[str]) -> Cleaner:
        """The names that are known here and those of home folders in `texts`. Words that are `allowed` are no names.

        A trigger is what the file is for: it stays, even where the user is called like it.
        """
        named = known.with_homes(texts)
        words = {word.lower() for text in allowed for word in re.findall(r"\w+", text)}
        return cls(KnownNames(_without(named.users, words), _without(named.hosts, words)))

    def text(self, where: str, text: str) -> str:
        """The printable text without the parts between commas that tell of a person or a machine."""
        text = printable(text)
        if traces.find(text, self.known) is None:
            return text
        pieces = _PIECES.split(text)
        kept = [(piece, mark) for piece, mark in zip(pieces[::2], [*pieces[1::2], ""], strict=True)
                if not self._is_private(where, piece)]  # fmt: skip
        whole = "".join(f"{piece}{mark}" for piece, mark in kept).strip(" ,;\n")
        return "" if whole and self._is_private(where, whole) else whole

    def metadata(self, metadata: dict[str, str], *, keep_captions: bool) -> Scrubbed:
        """The file's metadata, scrubbed."""
        found = scrubbing.scrub(metadata, self.known, keep_captions=keep_captions)
        for change in found.removed:
            self._note(f"metadata {self._named(change.key)}", change.why)
        for change in found.changed:
            self._note(f"part of metadata {self._named(change.key)}", change.why)
        return found

    def note(self, where: str, why: str) -> None:
        """Say that something was left out."""
        self._note(where, why)

    def _named(self, key: str) -> str:
        return key if traces.find(key, self.known) is None else "key"

    def _is_private(self, where: str, text: str) -> bool:
        found = traces.find(text, self.known)
        if found is not None:
            self._note(f"part of {where}", found)
        return found is not None

    def _note(self, where: str, why: str) -> None:
        left = LeftOut(where, why)
        if left not in self.left_out:
            self.left_out.append(left)


def printable(text: str) -> str:
    """Without control characters and halves of characters: YAML and UTF-8 have no place for them."""
    return "".join(char for char in text if char in "\n\t" or unicodedata.category(char) not in _NO_TEXT)


def _without(names: frozenset[str], words: set[str]) -> frozenset[str]:
    return frozenset(name for name in names if name.lower() not in words)
