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
    table_activations: float
    """`activations` on the machine of the measured table, with older software and unknown pictures."""
    table_context_gib: float
    """CUDA's context on that machine, which nobody can ask any more."""

    @property
    def of_table(self) -> FittedConstants:
        """The constants of the table's machine."""
        return replace(self, activations=self.table_activations)

    @property
    def at_worst(self) -> FittedConstants:
        """The constants for an upper end: activations as on the less favourable machine."""
        return replace(self, activations=max(self.activations, self.table_activations))


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
