"""Runs that were measured on a known GPU and ship with the program: settings, and what PyTorch and the driver told."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from sdxl_train_cli.memory import memory_settings
from sdxl_train_cli.memory.memory_settings import MemorySettings
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.sdscripts import buckets

TABLE = Path(__file__).with_name("measured_cells.csv")


@dataclass(frozen=True)
class MeasuredCell:
    """One run. Peaks in GiB; None where the source does not tell them."""

    preset: str
    settings: MemorySettings
    width: int
    height: int
    fast: bool
    before_allocated_gib: float | None
    """Peak until the first backward pass: loading, caching and the first forward pass."""
    before_reserved_gib: float | None
    training_allocated_gib: float | None
    training_reserved_gib: float | None
    process_gib: float
    """The driver's figure for the process, with CUDA's context."""
    context_gib: float
    gpu: str
    driver: str
    torch: str
    cuda: str
    measured: str
    """The date."""

    @property
    def recipe(self) -> Recipe:
        """A recipe with the same memory, for an estimate."""
        return memory_settings.recipe(self.settings, (self.width, self.height), self.settings.batch_size)

    @property
    def reserved_gib(self) -> float:
        """The most that PyTorch's allocator held."""
        known = [gib for gib in (self.before_reserved_gib, self.training_reserved_gib) if gib is not None]
        return max(known, default=self.process_gib - self.context_gib)


@cache
def load() -> Sequence[MeasuredCell]:
    """All of them."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return tuple(map(_cell, csv.DictReader(line for line in file if not line.startswith("#"))))


def like(recipe: Recipe, *, fast: bool) -> MeasuredCell | None:
    """The one that took most of those with these settings and sides. None if there is none."""
    try:
        settings = memory_settings.read(recipe)
    except ValidationError:
        return None  # its values are out of range: the estimate names them
    sides = buckets.sides(recipe)
    same = [
        cell
        for cell in load()
        if cell.fast == fast and cell.settings.is_like(settings) and (cell.width, cell.height) == sides
    ]
    return max(same, key=lambda cell: cell.process_gib, default=None)


def _cell(line: Mapping[str, str]) -> MeasuredCell:
    settings = {
        name: line[name] for name in MemorySettings.model_fields if line[name] or name not in {"network_dim"}
    }
    peaks = ("before_allocated_gib", "before_reserved_gib", "training_allocated_gib", "training_reserved_gib")
    return MeasuredCell(
        line["preset"],
        MemorySettings.model_validate_strings(settings),
        int(line["width"]),
        int(line["height"]),
        line["fast"] == "true",
        *(float(line[name]) if line[name] else None for name in peaks),
        float(line["process_gib"]),
        float(line["context_gib"]),
        *(line[name] for name in ("gpu", "driver", "torch", "cuda", "measured")),
    )
