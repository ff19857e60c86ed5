"""What first principles do not provide of the memory estimate: a few constants, fitted by scripts/fit_vram.py."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

CONSTANTS = Path(__file__).with_name("vram_constants.json")


@dataclass(frozen=True)
class FittedConstants:
    """Constants fitted to measured runs. docs/vram.md explains them."""

    workspaces_gib: float
    """Workspaces of cuBLAS and cuDNN and what a step keeps beside the count, from what PyTorch allocated."""
    activations: float
    """GiB reserved for each GiB of activations that autograd keeps: rounding, workspaces, fragments."""
    checkpointed: float
    """The same factor with gradient checkpointing, which recomputes most activations."""
    overlap: float
    """Exponent with which phases of a step add up: 1 is their sum, a large one the largest of them."""
    vae: float
    """GiB reserved for each GiB of activations in the VAE, most of it workspace of its convolutions."""
    table_reserved: float
    """What the table's machine reserves for activations where a current one reserves 1: older software."""
    table_context_gib: float
    """CUDA's context on that machine, which nobody can ask any more."""

    @property
    def of_table(self) -> FittedConstants:
        """The constants of the table's machine."""
        return self._reserving(self.table_reserved)

    @property
    def at_worst(self) -> FittedConstants:
        """The constants for an upper end: activations as on the less favourable machine."""
        return self._reserving(max(1.0, self.table_reserved))

    def _reserving(self, factor: float) -> FittedConstants:
        return replace(self, activations=factor * self.activations, checkpointed=factor * self.checkpointed)


@dataclass(frozen=True)
class EstimateSpread:
    """How far measured cells lie from the ends of their estimates without having been fitted, as factors."""

    low: float
    high: float


@cache
def load() -> tuple[FittedConstants, EstimateSpread]:
    """The shipped constants."""
    shipped = json.loads(CONSTANTS.read_text(encoding="utf-8"))
    return FittedConstants(**shipped["constants"]), EstimateSpread(**shipped["spread"])
