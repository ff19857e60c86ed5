"""What GPUs there are and what they hold, asked of the NVIDIA driver (NVML); no torch, no CUDA context."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

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
