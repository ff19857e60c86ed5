"""What CUDA's context takes of a GPU: measured at setup for the GPUs that are there, otherwise from a short table."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.gpu import Gpu

TABLE = Path(__file__).with_name("cuda_contexts.csv")
_Version = tuple[int, int]
_Limits = tuple[_Version, _Version]
_ANY: _Limits = (0, 0), (1000, 0)
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


def expected(capability: _Version | None = None, cuda: str | None = None) -> CudaContext:
    """The table's context for a compute capability and a CUDA version. None is unknown."""
    version = None if cuda is None else _version(cuda)
    return next(row.context for row in _rows() if row.fits(capability, version))


def cuda_of_torch(version: str) -> str | None:
    """The CUDA version in torch's own, such as 12.4 in 2.6.0+cu124. None if it names none."""
    _, _, build = version.partition("+cu")
    return f"{build[:-1]}.{build[-1]}" if build.isdecimal() and len(build) > 1 else None


@dataclass(frozen=True)
class _ContextRow:
    context: CudaContext
    capabilities: _Limits
    cudas: _Limits

    def fits(self, capability: _Version | None, cuda: _Version | None) -> bool:
        return _lies(capability, self.capabilities) and _lies(cuda, self.cudas)


def _lies(version: _Version | None, limits: _Limits) -> bool:
    """Whether it is from the first to below the second. What is unknown lies within no limits but none."""
    return limits == _ANY or (version is not None and limits[0] <= version < limits[1])


@cache
def _rows() -> tuple[_ContextRow, ...]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return tuple(map(_row, csv.DictReader(line for line in file if not line.startswith("#"))))


def _row(line: Mapping[str, str]) -> _ContextRow:
    low, likely, high = (float(line[f"{name}_gib"]) for name in ("low", "likely", "high"))
    context = CudaContext(low, likely, high, line["source"])
    return _ContextRow(context, _limits(line, "capability"), _limits(line, "cuda"))


def _limits(line: Mapping[str, str], name: str) -> _Limits:
    first, below = line[f"{name}_from"], line[f"{name}_below"]
    return _version(first) if first else _ANY[0], _version(below) if below else _ANY[1]


def _version(text: str) -> _Version:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)
