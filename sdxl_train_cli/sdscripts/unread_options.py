"""Options that sd-scripts accepts and never acts on, from the table beside this file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sdxl_train_cli import untrusted_files

TABLE = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True)
class UnreadOption:
    """One row: an option, the scripts and releases that pass over it, and why."""

    name: str
    scripts: list[str]
    releases: list[str]
    read_in: list[str]
    """Functions that mention it all the same, without an effect on the training."""
    why: str
    source: str


@cache
def rows() -> tuple[UnreadOption, ...]:
    """Every row of the table."""
    found: Any = untrusted_files.toml_table(TABLE.read_text(encoding="utf-8"), TABLE.name)
    return tuple(UnreadOption(**row) for row in found["option"])
