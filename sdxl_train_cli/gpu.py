"""The GPUs and their memory, as the NVIDIA driver (NVML) reports them. Uses no torch and no CUDA context."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pynvml

from sdxl_train_cli import language, untrusted_files
from sdxl_train_cli.errors import UsageError

GIB = 1024**3
_FACTS = Path(__file__).with_name("gpus.toml")
LARGEST_GIB = 1024
"""Larger than any GPU. A greater number was meant in MB, or is a typo."""


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU, numbered in PCI bus order as in nvidia-smi."""

    index: int
    name: str
    total_gib: float
    free_gib: float
    capability: tuple[int, int]
    """CUDA compute capability: (7, 5) is Turing, (8, 6) and (8, 9) are RTX 30 and 40, (12, 0) is RTX 50."""
    driver: str
    """The driver's version, such as `550.54.14`."""

    @property
    def idle(self) -> Gpu:
        """The GPU as it is when nothing but a desktop uses it."""
        return replace(self, free_gib=max(self.free_gib, self.total_gib - usual_headroom_gib()))

    @property
    def has_bf16(self) -> bool:
        """Whether the GPU computes bfloat16 natively: Ampere (RTX 30) and newer."""
        return self.capability >= (8, 0)

    @property
    def has_sound_fp16(self) -> bool:
        """Whether what it computes in fp16 is right. A GTX 16 gives NaN."""
        return has_sound_fp16(self.name)


def has_sound_fp16(name: str) -> bool:
    """Whether a GPU of this name computes in fp16 without NaN, as nearly all do."""
    return not any(part in name for part in _unsound_fp16())


@cache
def _unsound_fp16() -> tuple[str, ...]:
    facts = untrusted_files.toml_table(_FACTS.read_text(encoding="utf-8"), _FACTS.name)["unsound_fp16"]
    return tuple(facts["names"]) if isinstance(facts, dict) else ()


def hypothetical(total_gib: float, headroom_gib: float, index: int = 0) -> Gpu:
    """A GPU to calculate with when the real one is elsewhere. Other programs use `headroom_gib` of it."""
    if not total_gib <= LARGEST_GIB:
        raise UsageError(f"there is no GPU of {total_gib:g} GB", "name its size in GB: 8, 12, 24 ...")
    if not (math.isfinite(headroom_gib) and total_gib > headroom_gib):
        raise UsageError(
            f"a GPU of {total_gib:g} GB has nothing left for training", "name its size in GB: 8, 12, 24 ..."
        )
    name = language.said("plan", "pretended", "a GPU of {size:g} GB", size=total_gib)
    return Gpu(index, name, total_gib, total_gib - headroom_gib, capability=(8, 0), driver="")


def in_words(indices: Sequence[int]) -> str:
    """`GPU 0`, or `GPUs 0, 1`."""
    return f"GPU{'s' if len(indices) > 1 else ''} {', '.join(map(str, indices))}"


def usual_headroom_gib() -> float:
    """Memory that a desktop uses: 1 to 2 GB on Windows, according to the note of the measured table."""
    return 1.5 if sys.platform == "win32" else 0.5


def devices() -> tuple[Gpu, ...]:
    """Every GPU that the driver reports. Empty without an NVIDIA driver."""
    with contextlib.suppress(pynvml.NVMLError), _driver():
        driver = str(pynvml.nvmlSystemGetDriverVersion())
        found = (_gpu(index, driver) for index in range(pynvml.nvmlDeviceGetCount()))
        return tuple(device for device in found if device is not None)
    return ()


@contextlib.contextmanager
def _driver() -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def _gpu(index: int, driver: str) -> Gpu | None:
    """Return None if the driver lists a GPU but can't describe it. Other GPUs may still work."""
    try:
        whole = pynvml.nvmlDeviceGetHandleByIndex(index)
        handle = _part(whole)
        if handle is None:
            return None
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(whole)
        name = str(pynvml.nvmlDeviceGetName(handle))
    except pynvml.NVMLError:
        return None
    return Gpu(
        index=index,
        name=name,
        total_gib=int(memory.total) / GIB,
        free_gib=int(memory.free) / GIB,
        capability=(int(major), int(minor)),
        driver=driver,
    )


def _part(handle: Any) -> Any:  # noqa: ANN401 - NVML's own handles
    """Return the first MIG instance of a partitioned GPU, which is what CUDA uses; otherwise the GPU itself.

    Return None if MIG is on but no instance exists: CUDA then sees no device, whatever the driver reports for the whole
    GPU.
    """
    if _query(lambda: pynvml.nvmlDeviceGetMigMode(handle)[0]) != pynvml.NVML_DEVICE_MIG_ENABLE:
        return handle
    for number in range(_query(lambda: pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)) or 0):
        part = _query(partial(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, number))
        if part is not None:
            return part
    return None


def _query(question: Callable[[], Any]) -> Any:  # noqa: ANN401 - as NVML answers
    """Return the driver's answer, or None if it has none: not every GPU reports everything."""
    try:
        return question()
    except pynvml.NVMLError:
        return None


@dataclass(frozen=True)
class Usage:
    """GPU memory in use at one moment. None where the driver does not report it."""

    used_gib: float | None = None
    total_gib: float | None = None
    power_watts: float | None = None
    by_process: Mapping[int, float | None] = field(default_factory=dict)
    """GiB by process ID. None with Windows' display driver (WDDM), which does not report it."""


class Meter:
    """Repeated readings of one GPU. The driver stays open until `close`. Never raises."""

    def __init__(self, index: int) -> None:
        self._open = False
        self._whole = self._part = None
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            self._open = True
            self._whole = pynvml.nvmlDeviceGetHandleByIndex(index)
            self._part = _part(self._whole)

    def read(self) -> Usage:
        """Take one reading."""
        if self._part is None:
            return Usage()
        memory = _query(lambda: pynvml.nvmlDeviceGetMemoryInfo(self._part))
        power = _query(lambda: pynvml.nvmlDeviceGetPowerUsage(self._whole))
        processes = _query(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(self._part)) or []
        return Usage(
            used_gib=None if memory is None else int(memory.used) / GIB,
            total_gib=None if memory is None else int(memory.total) / GIB,
            power_watts=None if power is None else power / 1000,
            by_process={
                int(one.pid): None if one.usedGpuMemory is None else int(one.usedGpuMemory) / GIB for one in processes
            },
        )

    def close(self) -> None:
        """Close the driver."""
        if self._open:
            self._open = False
            self._part = None
            _query(pynvml.nvmlShutdown)
