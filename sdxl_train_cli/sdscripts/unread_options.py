"""Options that sd-scripts accepts and never acts on, from the table beside this file."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from sdxl_train_cli import untrusted_files

TABLE = Path(__file__).with_suffix(".toml")


class UnreadOption(BaseModel):
    """One row: an option, the scripts and releases that pass over it, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    scripts: tuple[str, ...]
    releases: tuple[str, ...]
    read_in: tuple[str, ...]
    """Functions that mention it all the same, without an effect on the training."""
    why: str
    source: str


@cache
def rows() -> tuple[UnreadOption, ...]:
    """Every row of the table."""
    found = untrusted_files.toml_table(TABLE.read_text(encoding="utf-8"), TABLE.name)
    return TypeAdapter(tuple[UnreadOption, ...]).validate_python(found["option"])
