"""GPU memory that sdxl_gen_img.py takes: counted from the models' sizes, and measured by nobody yet."""

from __future__ import annotations

from dataclasses import dataclass

from sdxl_train_cli.errors import Problem, VramError
from sdxl_train_cli.gpu import GIB, Gpu
from sdxl_train_cli.memory import activations
from sdxl_train_cli.memory.cuda_context import CudaContext
from sdxl_train_cli.memory.network_size import TEXT_WEIGHTS, UNET_WEIGHTS, VAE_WEIGHTS

_FLOAT, _HALF = 4, 2
_LEAST_MORE_GIB, _MOST_MORE_GIB = 0.2, 1.5
"""What the U-Net's activations and PyTorch's own reserve add without gradients."""


@dataclass(frozen=True)
class DrawingNeed:
    """An estimate, as a range."""

    low_gib: float
    high_gib: float

    def __str__(self) -> str:
        return f"{self.low_gib:.1f} to {self.high_gib:.1f} GB (counted, not measured)"


def of(pixels: int, network_bytes: int, context: CudaContext, *, half: bool) -> DrawingNeed:
    """What one picture of this size takes, with the VAE in float32.

    All models stay on the GPU together, as sdxl_gen_img.py has them (v0.10.1 and v0.11.1).
    """
    width = _HALF if half else _FLOAT
    weights = (UNET_WEIGHTS + TEXT_WEIGHTS) * width + VAE_WEIGHTS * _FLOAT + network_bytes
    decoding = pixels / activations.SIDE**2 * activations.picture_gib("decode", half=False)
    base = weights / GIB + decoding
    return DrawingNeed(base + context.low_gib + _LEAST_MORE_GIB, base + context.high_gib + _MOST_MORE_GIB)


def require(needed: DrawingNeed, device: Gpu) -> str:
    """The comparison in words. VramError where even the low end does not fit."""
    words = f"drawing needs {needed}; {device.name} has {device.free_gib:.1f} GB free"
    if needed.low_gib > device.free_gib:
        raise VramError(Problem(words, "draw smaller pictures: --size 768, or try anyway: --no-vram-check"))
    return words if needed.high_gib <= device.free_gib else f"{words}: it may run out"
