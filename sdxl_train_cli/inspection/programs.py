"""Which image programs can read a file, by the names of its tensors: programs.toml has their rules."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from sdxl_train_cli import untrusted_files
from sdxl_train_cli.inspection.model_file import ModelFile

TABLE = Path(__file__).with_name("programs.toml")


class Obstacle(str, Enum):
    """Why a program does not read a file."""

    KIND = "it does not know this kind of network"
    DIALECT = "it does not know these tensors' endings"
    NAMES = "it does not know these names"


@dataclass(frozen=True)
class ProgramRule:
    """What one program reads of one kind of file."""

    program: str
    file: str
    """`network`, `checkpoint` or `embedding`."""
    names: re.Pattern[str]
    source: str
    kinds: tuple[str, ...] = ()
    dialects: tuple[str, ...] = ()
    required: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProgramReading:
    """How one program takes a file."""

    program: str
    obstacle: Obstacle | None
    """None if it reads at least a part."""
    unread: int
    """Names, or modules of a network, that it passes over."""
    total: int
    example: str | None
    """One of them."""
    missing: str | None = None
    """How a name begins that it asks for, and the file has not got."""


@cache
def load() -> tuple[ProgramRule, ...]:
    """Every rule, in the table's order."""
    rows: Any = untrusted_files.toml_table(TABLE.read_text(encoding="utf-8"), TABLE.name)["program"]
    return tuple(
        ProgramRule(
            program=row["program"],
            file=row["file"],
            names=re.compile(row["names"]),
            source=row["source"],
            kinds=tuple(row.get("kinds", ())),
            dialects=tuple(row.get("dialects", ())),
            required=tuple(row.get("required", ())),
        )
        for row in rows
    )


def readings(model: ModelFile) -> tuple[ProgramReading, ...]:
    """How each program takes the file. Empty for a file of another kind, or a broken one."""
    if model.broken or not (model.is_network or model.is_checkpoint or model.is_embedding):
        return ()
    wanted = "network" if model.is_network else "embedding" if model.is_embedding else "checkpoint"
    return tuple(_reading(rule, model) for rule in load() if rule.file == wanted)


def _reading(rule: ProgramRule, model: ModelFile) -> ProgramReading:
    names = model.modules if model.is_network else [name for name in model.names if model.is_embedding or "." in name]
    unread = [name for name in names if not rule.names.match(name)]
    readable = set(names).difference(unread)
    missing = next((start for start in rule.required if not any(name.startswith(start) for name in readable)), None)
    obstacle = None
    if model.is_network and not set(model.kinds) <= set(rule.kinds):
        obstacle = Obstacle.KIND
    elif model.is_network and not set(model.dialects) <= set(rule.dialects):
        obstacle = Obstacle.DIALECT
    elif not readable or missing is not None:
        obstacle = Obstacle.NAMES
    example = unread[0] if unread else None
    return ProgramReading(rule.program, obstacle, len(unread), len(names), example, missing)
