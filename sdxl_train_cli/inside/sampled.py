"""Run one of sd-scripts' training scripts so that its sample pictures take little memory.

    python sampled.py SCRIPT [args...]     run in the sd-scripts checkout, by the training environment's Python

sd-scripts encodes the prompts where the text encoders are: on the processor, where captions are cached. What takes
memory is the VAE, which decodes a whole picture at once: 8.3 GB for 1024x1024 in float32, more than the training. Here
it decodes strip by strip. The mathematics is the same: normalisation sees the statistics of the whole picture, and a
convolution sees the rows beside its strip. An fp8 U-Net is drawn with in fp8, as it is trained, where sd-scripts widens
all of it to 16 bits. SCRIPT may be another script of this folder, such as scaled.py; sd-scripts' files stay as they
are.

Relied upon: diffusers' Decoder, ResnetBlock2D and Upsample2D (0.25 to 0.32), and that the pipeline of
library/sdxl_lpw_stable_diffusion.py asks its U-Net for `dtype` and moves it by `to`. What is missing is told on stderr,
and the run goes on without it.
"""

from __future__ import annotations

import functools
import importlib
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

STRIP_PIXELS = 32_768
"""Pixels of a strip: 32 rows of 1024. A layer of 256 channels has 32 MiB for it in float32."""
PIPELINE = "library.sdxl_lpw_stable_diffusion"
DECODER = "diffusers.models.autoencoders.vae"

Rows = Callable[[int, int], torch.Tensor]
"""Gives a convolution's input from one row to another."""


def main(argv: list[str]) -> int:
    """Change how pictures are drawn and decoded, then become the script."""
    if not argv or argv[0] in {"-h", "--help"}:
        print("usage: sampled.py SCRIPT [args...]", file=sys.stderr)
        return 0 if argv else 2
    sys.path[0] = str(Path.cwd())  # where SCRIPT's own folder would stand if it were run directly
    try:
        decoder = importlib.import_module(DECODER).Decoder
        decoder.forward = sparing(decoder.forward)
    except (ImportError, AttributeError) as error:
        tell(f"pictures are decoded at once: {error}")
    if any(word.startswith("--fp8_base") for word in argv):
        draw_in_fp8()
    sys.argv = argv
    runpy.run_path(argv[0], run_name="__main__")
    return 0


def tell(words: str) -> None:
    """Write a message of ours to the run's log."""
    print(f"samples: {words}", file=sys.stderr, flush=True)


def sparing(decode: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """The decoder's `forward`, strip by strip where no gradients are wanted and every layer is as expected."""

    @functools.wraps(decode)
    def forward(self: Any, sample: torch.Tensor, *others: Any, **named: Any) -> torch.Tensor:  # noqa: ANN401  diffusers'
        if torch.is_grad_enabled() or any(each is not None for each in (*others, *named.values())):
            return decode(self, sample, *others, **named)
        if odd := unknown_layer(self):
            tell(f"pictures are decoded at once: {odd}")
            return decode(self, sample)
        return decode_in_strips(self, sample)

    return forward


def unknown_layer(decoder: Any) -> str | None:  # noqa: ANN401  diffusers'
    """What of the decoder is not as this script knows it, or None."""
    try:
        for block in decoder.up_blocks:
            for layer in block.resnets:
                plain = [layer.time_emb_proj, layer.upsample, layer.downsample] == [None] * 3
                if not plain or not isinstance(layer.nonlinearity, nn.SiLU) or layer.conv1.kernel_size != (3, 3):
                    return "a residual block does more than SDXL's"
            for layer in block.upsamplers or ():
                if layer.norm is not None or layer.use_conv_transpose or layer.name != "conv":
                    return "a block is enlarged in another way than SDXL's"
        is_known = isinstance(decoder.conv_norm_out, nn.GroupNorm) and isinstance(decoder.conv_act, nn.SiLU)
    except AttributeError as error:
        return str(error)
    return None if is_known else "its last layers are others than SDXL's"


def decode_in_strips(decoder: Any, sample: torch.Tensor) -> torch.Tensor:  # noqa: ANN401  diffusers'
    """What the decoder makes of latents. Its inner blocks, which are small, are left to it."""
    sample = decoder.mid_block(decoder.conv_in(sample))
    sample = sample.to(next(decoder.up_blocks.parameters()).dtype)
    for block in decoder.up_blocks:
        for layer in block.resnets:
            sample = residual(layer, sample)
        for layer in block.upsamplers or ():
            sample = convolved(layer.conv, enlarged(sample), (2 * sample.shape[2], 2 * sample.shape[3]))
        if sample.is_cuda:
            torch.cuda.empty_cache()  # the next block's tensors have other sizes
    return convolved(decoder.conv_out, normalised(decoder.conv_norm_out, sample), sample.shape[2:])


def residual(layer: Any, given: torch.Tensor) -> torch.Tensor:  # noqa: ANN401  diffusers'
    """A residual block. Without a convolution beside it, its input becomes its result: nobody reads that again."""
    size = given.shape[2:]
    hidden = convolved(layer.conv1, normalised(layer.norm1, given), size)
    beside = layer.conv_shortcut
    result = given if beside is None else hidden.new_empty(hidden.shape)
    for top, bottom, part in strips(layer.conv2, normalised(layer.norm2, hidden), size):
        own = given[:, :, top:bottom]
        result[:, :, top:bottom] = ((own if beside is None else beside(own)) + part) / layer.output_scale_factor
    return result


def convolved(layer: nn.Conv2d, rows: Rows, size: tuple[int, int]) -> torch.Tensor:
    """A convolution's whole result."""
    result: torch.Tensor | None = None
    for top, bottom, part in strips(layer, rows, size):
        if result is None:
            result = part.new_empty((*part.shape[:2], *size))
        result[:, :, top:bottom] = part
    assert result is not None  # noqa: S101  a picture has rows
    return result


def strips(layer: nn.Conv2d, rows: Rows, size: tuple[int, int]) -> Iterator[tuple[int, int, torch.Tensor]]:
    """Yield first row, end and result of each strip."""
    height, width = size
    margin, step = int(layer.padding[0]), max(1, STRIP_PIXELS // width)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        low, high = max(0, top - margin), min(height, bottom + margin)
        beyond = (0, 0, margin - (top - low), margin - (high - bottom))  # zeros above and below the picture
        part = functional.pad(rows(low, high), beyond) if any(beyond) else rows(low, high)
        yield top, bottom, functional.conv2d(part, layer.weight, layer.bias, padding=(0, layer.padding[1]))


def enlarged(given: torch.Tensor) -> Rows:
    """Rows of a picture of twice the size."""

    def rows(low: int, high: int) -> torch.Tensor:
        first = low // 2
        part = functional.interpolate(given[:, :, first : (high + 1) // 2], scale_factor=2.0, mode="nearest")
        return part[:, :, low - 2 * first : high - 2 * first]

    return rows


def normalised(norm: nn.GroupNorm, given: torch.Tensor) -> Rows:
    """Rows after normalisation with the statistics of the whole picture, and SiLU."""
    mean, variance = statistics(given, norm.num_groups)
    each = given.shape[1] // norm.num_groups
    factor = torch.rsqrt(variance + norm.eps).repeat_interleave(each, dim=1) * norm.weight.float()
    offset = norm.bias.float() - mean.repeat_interleave(each, dim=1) * factor

    def rows(low: int, high: int) -> torch.Tensor:
        part = torch.addcmul(offset[:, :, None, None], given[:, :, low:high].float(), factor[:, :, None, None])
        return functional.silu(part.to(given.dtype), inplace=True)

    return rows


def statistics(given: torch.Tensor, groups: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of each group of channels, put together from those of strips."""
    height, width = given.shape[2:]
    step = max(1, STRIP_PIXELS // width)
    found = []
    for top in range(0, height, step):
        part = given[:, :, top : top + step].float()
        variance, mean = torch.var_mean(part.reshape(part.shape[0], groups, -1), dim=2, correction=0)
        found.append((part.shape[2] / height, mean, variance))
    whole = torch.stack([share * mean for share, mean, _ in found]).sum(0)
    spread = torch.stack([share * (variance + (mean - whole) ** 2) for share, mean, variance in found]).sum(0)
    return whole, spread


class Narrow:
    """An fp8 U-Net that the pipeline takes for one of 16 bits. Autocast widens a weight where it is used."""

    dtype = torch.float16

    def __init__(self, unet: Any) -> None:  # noqa: ANN401  upstream's
        self.unet = unet

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  upstream's
        return getattr(self.unet, name)

    def __call__(self, *inputs: Any, **named: Any) -> Any:  # noqa: ANN401  upstream's
        """One forward pass."""
        return self.unet(*inputs, **named)

    def to(self, *_: object) -> Narrow:
        """Stay as it is."""
        return self


def draw_in_fp8() -> None:
    """Have the pipeline draw with a U-Net in fp8 as it is."""
    try:
        pipeline = importlib.import_module(PIPELINE).SdxlStableDiffusionLongPromptWeightingPipeline
        pipeline.__call__ = narrow(pipeline.__call__)
    except (ImportError, AttributeError) as error:
        tell(f"an fp8 U-Net is widened to draw: {error}")


def narrow(draw: Callable[..., Any]) -> Callable[..., Any]:
    """The pipeline's drawing with an fp8 U-Net in place; as sd-scripts does it where that fails."""

    @functools.wraps(draw)
    def drawn(self: Any, *inputs: Any, **named: Any) -> Any:  # noqa: ANN401  upstream's
        unet = self.unet
        if getattr(unet.dtype, "itemsize", 2) != 1 or isinstance(unet, Narrow):
            return draw(self, *inputs, **named)
        state = torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_available() else None
        self.unet = Narrow(unet)
        try:
            return draw(self, *inputs, **named)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            tell(f"the fp8 U-Net is widened to draw: {' '.join(str(error).split())[:300]}")
        finally:
            self.unet = unet
        torch.set_rng_state(state[0])
        if state[1] is not None:
            torch.cuda.set_rng_state(state[1])
        return draw(self, *inputs, **named)

    return drawn


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
