"""The GPU that a command is asked about: a real one, or a size in GB."""

from __future__ import annotations

from typing import Annotated

from sdxl_train_cli import gpu
from sdxl_train_cli.commands import values
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.ui import console

GpuIndex = Annotated[int | None, values.gpu_index("Number of the GPU [default: the one with most free memory]")]
GpuMemory = Annotated[float | None, values.gpu_memory("Pretend that the GPU has this many GB")]
Headroom = Annotated[
    float | None,
    values.number(
        "--headroom", metavar="GB", example="1.5", about="GB that other programs use [default: depends on the system]"
    ),
]


def find(command: str, index: int | None, size: float | None, headroom: float | None) -> Gpu | None:
    """The GPU in question: a hypothetical one, the one that was named, or the one with the most free memory."""
    if size is not None:
        if index is not None:
            raise UsageError("--gpu names a real GPU, --gpu-memory one that is not there", "give one of them")
        return gpu.hypothetical(size, gpu.usual_headroom_gib() if headroom is None else headroom)
    found = gpu.devices()
    if index is not None:
        found = tuple(device for device in found if device.index == index)
        if not found:
            raise UsageError(
                f"there is no GPU {index} on this computer: --gpu is a GPU's number",
                f"for its memory in GB: sdxl-train {command} --gpu-memory {index or 8}",
            )
    freest = max(found, key=lambda device: device.free_gib, default=None)
    if freest is not None and headroom is not None:
        console.note(
            f"--headroom is not needed: {freest.name} has {freest.free_gib:.1f} GB free, as its driver reports"
        )
    if freest is not None and len(found) > 1:
        console.note(
            f"of {len(found)} GPUs, this is for the one with the most free memory: {freest.index}, {freest.name}"
        )
    return freest
