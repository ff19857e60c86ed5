"""Where a setting or problem comes from: a line of a file, or a flag."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE_OF_FILE = re.compile(r"(.+\.(?:ya?ml|toml)):(\d+)")

_FORMER = {"the samples": "chosen for samples", "the validation": "chosen for validation"}
"""As records of earlier versions call them."""


@dataclass(frozen=True)
class Origin:
    """A line of a file (`dim32-gc.yaml:7`), a whole file, or a flag: `--set`, `--batch-size`."""

    name: str = ""
    """The file as the user knows it, or the flag. Empty in records that do not say."""
    line: int | None = None
    """Line number from 1, or None for anything but a line of a file."""

    def __str__(self) -> str:
        return self.name if self.line is None else f"{self.name}:{self.line}"

    @classmethod
    def parse(cls, text: str) -> Origin:
        """Parse an origin as a run's record stores it."""
        text = _FORMER.get(text, text)
        match = _LINE_OF_FILE.fullmatch(text)
        return cls(text) if match is None else cls(match[1], int(match[2]))
