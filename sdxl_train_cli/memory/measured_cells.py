"""Runs that were measured on a known GPU and ship with the program: settings, and what PyTorch and the driver told."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sdxl_train_cli.memory import memory_settings
from sdxl_train_cli.memory.memory_settings import MemorySettings
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.sdscripts import buckets

TABLE = Path(__file__).with_name("measured_cells.csv")
_MAY_BE_EMPTY = {"network_dim", "sample_pixels"}


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

    @property
    def beyond_plain_gib(self) -> float:
        """What --fast adds to CUDA's context: recorded graphs, which PyTorch does not manage."""
        return self.context_gib - min(cell.context_gib for cell in load() if cell.gpu == self.gpu)


@cache
def load() -> Sequence[MeasuredCell]:
    """All of them."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return tuple(map(_cell, csv.DictReader(line for line in file if not line.startswith("#"))))


def like(recipe: Recipe, *, fast: bool) -> MeasuredCell | None:
    """The one that took most of those with these settings and sides. None if there is none."""
    settings = memory_settings.read_possible(recipe)
    same = [cell for cell in _of_sides(recipe, fast=fast) if settings is not None and cell.settings.is_like(settings)]
    return max(same, key=lambda cell: cell.process_gib, default=None)


def larger(recipe: Recipe) -> MeasuredCell | None:
    """The one that took least of those that can't take less: a larger network or batch, and all else the same."""
    settings = memory_settings.read_possible(recipe)
    if settings is None or not settings.network_dim:
        return None
    found = [cell for cell in _of_sides(recipe, fast=False) if _is_larger(cell.settings, settings)]
    return min(found, key=lambda cell: cell.reserved_gib, default=None)


def _is_larger(one: MemorySettings, other: MemorySettings) -> bool:
    sizes = {"network_dim": one.network_dim, "batch_size": one.batch_size}
    grown = (one.network_dim or 0) >= (other.network_dim or 0) and one.batch_size >= other.batch_size
    return grown and one.is_like(other.model_copy(update=sizes))


def _of_sides(recipe: Recipe, *, fast: bool) -> Iterator[MeasuredCell]:
    sides = buckets.sides(recipe)
    return (cell for cell in load() if cell.fast == fast and (cell.width, cell.height) == sides)


def _cell(line: Mapping[str, str]) -> MeasuredCell:
    settings = {name: line[name] for name in MemorySettings.model_fields if line.get(name) or name not in _MAY_BE_EMPTY}
    return MeasuredCell(
        preset=line["preset"],
        settings=MemorySettings.model_validate_strings(settings),
        width=int(line["width"]),
        height=int(line["height"]),
        fast=line["fast"] == "true",
        before_allocated_gib=_peak(line, "before_allocated"),
        before_reserved_gib=_peak(line, "before_reserved"),
        training_allocated_gib=_peak(line, "training_allocated"),
        training_reserved_gib=_peak(line, "training_reserved"),
        process_gib=float(line["process_gib"]),
        context_gib=float(line["context_gib"]),
        gpu=line["gpu"],
        measured=line["measured"],
    )


def _peak(line: Mapping[str, str], name: str) -> float | None:
    text = line[f"{name}_gib"]
    return float(text) if text else None
