"""What became of each key of an imported file. Nothing is dropped silently."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from sdxl_train_cli.errors import Problem
from sdxl_train_cli.recipe import Value

_LONGEST = 60
"""Characters shown of a value: a comment or a list of blocks can be pages long."""
NOT_IMPORTED = "such settings are not imported; sdxl-train embedding --data FOLDER --trigger WORD trains one for SDXL"
"""What to do about another program's settings for a textual inversion."""


class KeyFate(str, Enum):
    """What became of a key."""

    TAKEN = "taken"
    RENAMED = "renamed"
    COMPUTED = "computed"
    IGNORED = "ignored"
    UNKNOWN = "not understood"


@dataclass(frozen=True)
class ForeignKey:
    """One key of the file and the option it became. A key that became several options has several entries."""

    key: str
    shown: str
    """The key's value as in the file, shortened."""
    what: KeyFate
    option: str | None = None
    """None if it became no option."""
    value: Value | None = None
    """The option's value. None if the file leaves the option to sd-scripts."""
    note: str = ""

    def dropped(self, reason: str, what: KeyFate = KeyFate.IGNORED) -> ForeignKey:
        """The same key without its option, and the reason."""
        return replace(self, what=what, option=None, value=None, note=reason)


@dataclass(frozen=True)
class ForeignSettings:
    """A file in its own program's meaning, as sd-scripts options, not yet adapted to SDXL."""

    format: str
    full: bool
    """Whether the whole U-Net is trained (sdxl_train.py) rather than a network."""
    entries: tuple[ForeignKey, ...]
    """Entries in order. Of two for one option, the later one counts."""
    whole: bool = True
    """Whether unmentioned options have sd-scripts' defaults. Otherwise they are unknown."""
    facts: tuple[str, ...] = ()
    """Other facts worth a comment in the preset."""
    warnings: tuple[Problem, ...] = ()
    """What the preset lacks, and what to do."""
    text: str = ""
    """The file's text, for line numbers. Empty for a file without lines."""


def shown(raw: object) -> str:
    """A value on one line, with control characters escaped."""
    text = (
        raw if isinstance(raw, str) else "" if raw is None else str(raw).lower() if isinstance(raw, bool) else repr(raw)
    )
    text = "".join(char if char.isprintable() else " " for char in text[: 4 * _LONGEST])
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def ignored(key: str, raw: object, reason: str) -> ForeignKey:
    """A key that is left out."""
    return ForeignKey(key, shown(raw), KeyFate.IGNORED, note=reason)


def unknown(key: str, raw: object, reason: str) -> ForeignKey:
    """A key that is not recognised."""
    return ForeignKey(key, shown(raw), KeyFate.UNKNOWN, note=reason)


def became(key: str, raw: object, option: str, value: Value | None, note: str = "") -> ForeignKey:
    """A key that became an option: taken over if the names agree, otherwise renamed."""
    name = key.rpartition(".")[2].rpartition("--")[2].replace("-", "_").removeprefix("ss_")
    return ForeignKey(key, shown(raw), KeyFate.TAKEN if name == option else KeyFate.RENAMED, option, value, note)


def computed(key: str, raw: object, option: str, value: Value | None, note: str) -> ForeignKey:
    """A key whose option has a different value."""
    return ForeignKey(key, shown(raw), KeyFate.COMPUTED, option, value, note)
