"""A network's ranks, block by block, from its header."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from sdxl_train_cli import files
from sdxl_train_cli.inspection import model_file
from sdxl_train_cli.inspection.weight_facts import LABELS
from sdxl_train_cli.sdscripts.checkpoint import Header


@dataclass(frozen=True)
class BlockRanks:
    """The modules of one block."""

    part: str
    """`unet`, `te1`, `te2` or `other`."""
    block: str
    """`input 4`, `middle`; empty for a text encoder."""
    modules: int
    ranks: tuple[int, ...]
    """Every rank that occurs, the smallest first."""

    @property
    def label(self) -> str:
        """The block's name for a person."""
        return f"{LABELS.get(self.part, 'other weights')} {self.block}".strip()

    @property
    def words(self) -> str:
        """Its ranks: `16`, or `4 to 16`."""
        return str(self.ranks[0]) if len(self.ranks) == 1 else f"{self.ranks[0]} to {self.ranks[-1]}"


def ranks(header: Header) -> tuple[BlockRanks, ...]:
    """The ranks of each block, in the file's order. inside/weights.py groups modules by the same table."""
    groups: dict[tuple[str, str], list[int]] = {}
    for module, rank in model_file.ranks_by_module(header).items():
        groups.setdefault((part(module), _block(module)), []).append(rank)
    return tuple(BlockRanks(*place, len(found), tuple(sorted(set(found)))) for place, found in groups.items())


def part(module: str) -> str:
    """The part of the model that a module belongs to."""
    return next((name for name, pattern in _parts().items() if pattern.match(module)), "other")


def _block(module: str) -> str:
    found = _blocks().search(module)
    if found is None:
        return ""
    return found["middle"] or f"{found['place']} {found['number']}"


@cache
def _parts() -> Mapping[str, re.Pattern[str]]:
    table = json.loads(files.read_text(model_file.NAMES))
    return {name: re.compile("|".join(patterns)) for name, patterns in table["parts"].items()}


@cache
def _blocks() -> re.Pattern[str]:
    return re.compile(json.loads(files.read_text(model_file.NAMES))["blocks"])
