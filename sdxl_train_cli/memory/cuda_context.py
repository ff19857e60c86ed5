"""What CUDA's context takes of a GPU: measured at setup for the GPUs that are there, and otherwise from a short table."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.gpu import Gpu

TABLE = Path(__file__).with_name("cuda_contexts.csv")
_LATER_GIB, _LATER_AT_MOST_GIB = 0.07, 0.1
"""What kernels that only a training loads add to a context: 0.68 became 0.75 on an H100 (docs/gpu_checks.md)."""


@dataclass(frozen=True)
class CudaContext:
    """GiB of a process's GPU memory that PyTorch does not manage: the driver's structures, and all loaded kernels."""

    low_gib: float
    likely_gib: float
    high_gib: float
    source: str

    @classmethod
    def measured(cls, gib: float) -> CudaContext:
        """A context that setup has measured."""
        return cls(gib, gib + _LATER_GIB, gib + _LATER_AT_MOST_GIB, "measured at setup")


def of(device: Gpu, installed: Environment | None) -> CudaContext:
    """The context on this GPU: as setup measured it, or what the table expects."""
    if installed is None:
        return expected(device.capability)
    gib = installed.lock.contexts_gib.get(device.name)
    if gib is not None:
        return CudaContext.measured(gib)
    return expected(device.capability, cuda_of_torch(installed.lock.packages.get("torch", "")))


def expected(capability: tuple[int, int] | None = None, cuda: str | None = None) -> CudaContext:
    """The table's context for a compute capability and a CUDA version. None is unknown."""
    version = None if cuda is None else _version(cuda)
    return next(row.context for row in _rows() if row.fits(capability, version))


def cuda_of_torch(version: str) -> str | None:
    """The CUDA version in torch's own, such as 12.4 in 2.6.0+cu124. None if it names none."""
    _, _, build = version.partition("+cu")
    return f"{build[:-1]}.{build[-1]}" if build.isdecimal() and len(build) > 1 else None


@dataclass(frozen=True)
class _Row:
    context: CudaContext
    capability_from: tuple[int, int] | None
    capability_to: tuple[int, int] | None
    cuda_from: tuple[int, int] | None
    cuda_below: tuple[int, int] | None

    def fits(self, capability: tuple[int, int] | None, cuda: tuple[int, int] | None) -> bool:
        limits = (
            (self.capability_from, capability, lambda limit, this: limit <= this),
            (self.capability_to, capability, lambda limit, this: this <= limit),
            (self.cuda_from, cuda, lambda limit, this: limit <= this),
            (self.cuda_below, cuda, lambda limit, this: this < limit),
        )
        return all(limit is None or (this is not None and holds(limit, this)) for limit, this, holds in limits)


@cache
def _rows() -> tuple[_Row, ...]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return tuple(map(_row, csv.DictReader(line for line in file if not line.startswith("#"))))


def _row(line: Mapping[str, str]) -> _Row:
    sizes = (float(line[f"{name}_gib"]) for name in ("low", "likely", "high"))
    names = ("capability_from", "capability_to", "cuda_from", "cuda_below")
    return _Row(CudaContext(*sizes, line["source"]), *(_version(line[name]) if line[name] else None for name in names))


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)
