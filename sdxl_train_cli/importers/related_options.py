"""Options that stand for one choice (xformers and sdpa, a cache and its copy on disk), read together.

A switch that is off never undoes one that is on, whatever the order of lines. The table beside this file has the facts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from sdxl_train_cli import untrusted_files
from sdxl_train_cli.importers.foreign_settings import ForeignKey, KeyFate

TABLE = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True)
class OneOf:
    """Options of which the first that is on counts."""

    options: list[str]
    where_all_are_off: str
    source: str


@dataclass(frozen=True)
class Implied:
    """An option that turns another on."""

    option: str
    turns_on: str
    source: str


@cache
def _tables() -> tuple[tuple[OneOf, ...], tuple[Implied, ...]]:
    found: Any = untrusted_files.toml_table(TABLE.read_text(encoding="utf-8"), TABLE.name)
    return tuple(OneOf(**row) for row in found["one_of"]), tuple(Implied(**row) for row in found["implied"])


def unite(entries: Sequence[ForeignKey]) -> list[ForeignKey]:
    """The entries without switches that are off beside one that is on."""
    last = {entry.option: entry.value for entry in entries if entry.option is not None}
    on = {option for option, value in last.items() if value not in (None, False)}
    groups, implications = _tables()
    found = list(entries)
    for group in groups:
        chosen = next((option for option in group.options if option in on), None)
        note = group.where_all_are_off if chosen is None else f"off; {chosen} counts"
        found = [
            entry.dropped(note) if entry.option in group.options and entry.option not in on else entry
            for entry in found
        ]
    for row in implications:
        if row.option in on and row.turns_on not in on:
            note = f"{row.option} turns it on"
            found = [
                replace(entry, what=KeyFate.COMPUTED, value=True, note=note) if entry.option == row.turns_on else entry
                for entry in found
            ]
    return found
