"""What GPUs there are and what they hold, asked of the NVIDIA driver (NVML); no torch, no CUDA context."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from sdxl_train_cli.errors import UsageError

GIB = 1024**3


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU, numbered in PCI bus order as nvidia-smi does."""

    index: int
    name: str
    total_gib: float
    free_gib: float
    capability: tuple[int, int]
    """CUDA compute capability: (7, 5) is Turing, (8, 6) and (8, 9) are RTX 30 and 40, (12, 0) is RTX 50."""
    driver: str
    """The driver's version, such as `550.54.14`."""

    @property
    def has_bf16(self) -> bool:
        """Whether it computes in bfloat16 itself: Ampere (RTX 30) and newer."""
        return self.capability >= (8, 0)


def imagined(total_gib: float, headroom_gib: float, index: int = 0) -> Gpu:
    """A GPU to reckon with where the real one is elsewhere: `headroom_gib` of it is taken by others."""
    if not total_gib > headroom_gib:
        raise UsageError(
            f"a GPU of {total_gib:g} GB has nothing left for training", "name its size in GB: --gpu-memory 8"
        )
    return Gpu(index, f"a GPU of {total_gib:g} GB", total_gib, total_gib - headroom_gib, capability=(8, 0), driver="")


def usual_headroom_gib() -> float:
    """What a desktop takes: the measured table's own note says 1 to 2 GB on Windows."""
    return 1.5 if sys.platform == "win32" else 0.5


def devices() -> tuple[Gpu, ...]:
    """Every GPU that the driver shows; empty where there is no NVIDIA driver."""
    import pynvml  # noqa: PLC0415 - only commands that look at the GPU pay for it

    with contextlib.suppress(pynvml.NVMLError), _driver():
        driver = str(pynvml.nvmlSystemGetDriverVersion())
        return tuple(_gpu(index, driver) for index in range(pynvml.nvmlDeviceGetCount()))
    return ()


@contextlib.contextmanager
def _driver() -> Iterator[None]:
    import pynvml  # noqa: PLC0415 - as above

    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def _gpu(index: int, driver: str) -> Gpu:
    import pynvml  # noqa: PLC0415 - as above

    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Gpu(
        index=index,
        name=str(pynvml.nvmlDeviceGetName(handle)),
        total_gib=int(memory.total) / GIB,
        free_gib=int(memory.free) / GIB,
        capability=(int(major), int(minor)),
        driver=driver,
    )
