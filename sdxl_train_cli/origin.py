"""Where a setting or a problem comes from: a line of a file, or what was typed."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE_OF_FILE = re.compile(r"(.+\.ya?ml):(\d+)")


@dataclass(frozen=True)
class Origin:
    """A line of a file (`dim32-gc.yaml:7`), a file, or what was typed: `--set`, `--batch-size`."""

    name: str = ""
    """The file as the user knows it, or the flag; empty in records that do not tell."""
    line: int | None = None
    """Counted from 1; None where it is no line of a file."""

    def __str__(self) -> str:
        return self.name if self.line is None else f"{self.name}:{self.line}"

    @classmethod
    def parse(cls, text: str) -> Origin:
        """Read what a run's record holds, which is the origin's text."""
        match = _LINE_OF_FILE.fullmatch(text)
        return cls(text) if match is None else cls(match[1], int(match[2]))
