"""What became of each key of a file that is imported; nothing of it disappears in silence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from sdxl_train_cli.recipe import Value

_LONGEST = 60
"""Characters of a value that are shown: a comment or a list of blocks can be pages long."""


class KeyFate(str, Enum):
    """The fate of a key."""

    TAKEN = "taken"
    RENAMED = "renamed"
    COMPUTED = "computed"
    IGNORED = "ignored"
    UNKNOWN = "not understood"


@dataclass(frozen=True)
class ForeignKey:
    """One key of the file and one option that it became; a key that became several has an entry for each."""

    key: str
    shown: str
    """The key's value as the file has it, shortened."""
    what: KeyFate
    option: str | None = None
    """None where it became no option."""
    value: Value | None = None
    """The option's value; None where the option is known to be left to sd-scripts."""
    note: str = ""

    def dropped(self, reason: str, what: KeyFate = KeyFate.IGNORED) -> ForeignKey:
        """The same key without its option, and why."""
        return replace(self, what=what, option=None, value=None, note=reason)


@dataclass(frozen=True)
class ForeignSettings:
    """A file as its own program means it, in sd-scripts' options; not yet made sense of for SDXL."""

    format: str
    full: bool
    """Whether the whole U-Net is trained (sdxl_train.py), or a network beside it."""
    entries: tuple[ForeignKey, ...]
    """In their order: of two entries for one option the later counts."""
    whole: bool = True
    """Whether an option that is not mentioned has sd-scripts' default; otherwise the file does not tell."""
    facts: tuple[str, ...] = ()
    """What else is worth a comment in the preset."""


def shown(raw: object) -> str:
    """A value of a file on one line, none of its control characters alive."""
    text = (
        raw if isinstance(raw, str) else "" if raw is None else str(raw).lower() if isinstance(raw, bool) else repr(raw)
    )
    text = "".join(char if char.isprintable() else " " for char in text[: 4 * _LONGEST])
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def ignored(key: str, raw: object, reason: str) -> ForeignKey:
    """A key that stays behind."""
    return ForeignKey(key, shown(raw), KeyFate.IGNORED, note=reason)


def unknown(key: str, raw: object, reason: str) -> ForeignKey:
    """A key that nothing can be made of."""
    return ForeignKey(key, shown(raw), KeyFate.UNKNOWN, note=reason)


def became(key: str, raw: object, option: str, value: Value | None, note: str = "") -> ForeignKey:
    """A key that became an option: taken where the names agree, else renamed."""
    name = key.rpartition(".")[2].rpartition("--")[2].replace("-", "_").removeprefix("ss_")
    return ForeignKey(key, shown(raw), KeyFate.TAKEN if name == option else KeyFate.RENAMED, option, value, note)


def computed(key: str, raw: object, option: str, value: Value | None, note: str) -> ForeignKey:
    """A key whose option has another value than the key."""
    return ForeignKey(key, shown(raw), KeyFate.COMPUTED, option, value, note)
