"""Number of weights that a network adds to SDXL: counted layer by layer as the modules build it, or a range."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import isqrt

from sdxl_train_cli.sdscripts import lycoris

UNET_WEIGHTS = 2_567_463_684
"""Parameters of SDXL's U-Net in library/sdxl_original_unet.py."""
TEXT_ENCODER_1_WEIGHTS = 123_060_480
TEXT_ENCODER_2_WEIGHTS = 694_659_840
TEXT_WEIGHTS = TEXT_ENCODER_1_WEIGHTS + TEXT_ENCODER_2_WEIGHTS
VOCABULARY_WEIGHTS = 49_408 * 1_280
"""Token embeddings of the larger text encoder: its largest tensor."""
EMBEDDING_WEIGHTS = (49_408 + 77) * (768 + 1_280)
"""Token and position embeddings of both text encoders."""
WORD_WEIGHTS = 49_408 * (768 + 1_280)
"""Token embeddings of both text encoders: what textual inversion hands to its optimizer."""
VAE_WEIGHTS = 83_653_863


@dataclass(frozen=True)
class LayerGroup:
    """Layers of one shape."""

    inputs: int
    outputs: int
    number: int
    kernel: int = 1
    """Weights between one input and one output: 9 in a 3x3 convolution."""


LAYERS: Mapping[str, tuple[LayerGroup, ...]] = {
    "attention": (
        LayerGroup(640, 640, 60),
        LayerGroup(2048, 640, 20),
        LayerGroup(1280, 1280, 360),
        LayerGroup(2048, 1280, 120),
    ),
    "transformer": (
        *(LayerGroup(640, 640, 10), LayerGroup(640, 5120, 10), LayerGroup(2560, 640, 10)),
        *(LayerGroup(1280, 1280, 12), LayerGroup(1280, 10240, 60), LayerGroup(5120, 1280, 60)),
    ),
    "resnet": (
        *(
            LayerGroup(320, 640, 1),
            LayerGroup(640, 320, 2),
            LayerGroup(640, 1280, 1),
            LayerGroup(960, 320, 1),
            LayerGroup(960, 640, 1),
        ),
        *(LayerGroup(1280, 320, 5), LayerGroup(1280, 640, 6), LayerGroup(1280, 1280, 7), LayerGroup(1920, 640, 1)),
        *(LayerGroup(1920, 1280, 1), LayerGroup(2560, 1280, 2)),
    ),
    "conv": (
        *(
            LayerGroup(320, 320, 8, 9),
            LayerGroup(320, 640, 1, 9),
            LayerGroup(640, 320, 2, 9),
            LayerGroup(640, 640, 8, 9),
        ),
        *(
            LayerGroup(640, 1280, 1, 9),
            LayerGroup(960, 320, 1, 9),
            LayerGroup(960, 640, 1, 9),
            LayerGroup(1280, 640, 1, 9),
        ),
        *(
            LayerGroup(1280, 1280, 11, 9),
            LayerGroup(1920, 640, 1, 9),
            LayerGroup(1920, 1280, 1, 9),
            LayerGroup(2560, 1280, 2, 9),
        ),
    ),
    "text attention": (LayerGroup(768, 768, 48), LayerGroup(1280, 1280, 128)),
    "text": (
        LayerGroup(768, 3072, 12),
        LayerGroup(3072, 768, 12),
        LayerGroup(1280, 5120, 32),
        LayerGroup(5120, 1280, 32),
    ),
}
"""Layers that networks reach: those of the transformers (722) and the text encoders (264); with convolutions also 28
others of the ResNet blocks, sized by network_dim, and 38 convolutions, sized by conv_dim.
"""
_U_NET = ("attention", "transformer", "resnet", "conv")
_PLAIN = lycoris.PRESETS[lycoris.WITHOUT_CONVOLUTIONS]
_ALL = lycoris.PRESETS["full"]

_AS_LORA = frozenset({"networks.lora", "networks.dylora", "networks.lora_fa"})

Weights = Callable[[LayerGroup, int], float]
"""Returns the weights that one layer gets for its dim."""


@dataclass(frozen=True)
class NetworkSize:
    """Weights of a network by location, and how uncertain the number is."""

    unet: float
    text: float
    conv: bool = False
    """Whether convolutions are reached. Autograd then keeps their inputs."""
    merged: float = 0.0
    """The U-Net's weights that get a copy of their size in each step, which autograd keeps: the layer's own with the
    network's added, or what is to be added. Counted on both as inside/activations.py counts."""
    low: float = 1.0
    high: float = 1.0
    doubt: str | None = None


def network_size(module: str, dim: int, arguments: dict[str, str], conv_dim: int | None, factor: int) -> NetworkSize:
    """Count the weights of a network module as sd-scripts or LyCORIS would build it.

    The layers are those of v0.10.1. Counts were checked against LyCORIS 3.2.0.post2 and sd-scripts' own LoHa and LoKr.
    An unknown module is treated as a LoRA of its dim, with a wide range and a reason.
    """
    if module in _AS_LORA:
        return _by_blocks(_counted(_lora, dim, conv_dim, _ALL if conv_dim else _PLAIN), arguments)
    algo = lycoris.NATIVE.get(module)
    if algo is not None:
        reached = _PLAIN if conv_dim is None else _ALL if conv_dim else _ALL - {"conv"}
        return _counted(_weights(algo, arguments, factor), dim, conv_dim, reached, merges=True)
    if module == lycoris.MODULE:
        return _lycoris(dim, arguments, dim if conv_dim is None else conv_dim, factor)
    return _unknown(dim, f"network_module {module or '(none)'} is unknown: counted as a LoRA of dim {dim}")


def _lycoris(dim: int, arguments: Mapping[str, str], conv_dim: int, factor: int) -> NetworkSize:
    algo = arguments.get("algo", "").lower() or "lora"
    reached = lycoris.reached_parts(arguments)
    if reached is None:
        doubt = f"what {arguments.get('preset')} reaches is unknown: counted as all that LyCORIS can reach"
        counted = _counted(_weights(algo, arguments, factor), dim, conv_dim, _ALL, merges=algo not in lycoris.PLAIN)
        return replace(counted, low=0.0, high=2.0, doubt=doubt)
    if algo in lycoris.PLAIN or algo in {"loha", "lokr", "full"}:
        merges = algo not in lycoris.PLAIN
        return _counted(_weights(algo, arguments, factor), dim, conv_dim, reached, merges=merges)
    return _unknown(dim, f"LyCORIS' algo={algo} is not modelled: counted as a LoRA of dim {dim}")


def _weights(algo: str, arguments: Mapping[str, str], factor: int) -> Weights:
    if algo == "loha":
        return lambda layer, dim: 2 * _lora(layer, dim)
    if algo == "lokr":
        whole = bool(lycoris.parse_switch(arguments.get("full_matrix", "False")))
        return lambda layer, dim: _lokr(layer, dim, factor, whole=whole)
    if algo == "full":
        return lambda layer, _dim: layer.inputs * layer.outputs * layer.kernel
    return _lora


def _counted(
    weights: Weights, dim: int, conv_dim: int | None, reached: Collection[str], *, merges: bool = False
) -> NetworkSize:
    unet, text = (
        sum(
            layer.number * weights(layer, (conv_dim or 0) if part == "conv" else dim)
            for part in LAYERS.keys() & set(reached)
            if (part in _U_NET) is of_unet
            for layer in LAYERS[part]
        )
        for of_unet in (True, False)
    )
    whole = sum(
        layer.number * layer.inputs * layer.outputs * layer.kernel
        for part in set(_U_NET) & set(reached)
        for layer in LAYERS[part]
    )
    return NetworkSize(unet, text, conv="conv" in reached and bool(conv_dim), merged=whole if merges else 0)


def _lora(layer: LayerGroup, dim: int) -> float:
    """Two matrices that meet at the dim."""
    return dim * (layer.inputs * layer.kernel + layer.outputs)


def _lokr(layer: LayerGroup, dim: int, factor: int, *, whole: bool) -> float:
    """A small whole matrix, and a larger one as a pair that meets at the dim, or whole if that is smaller."""
    small_in, large_in = _factors(layer.inputs, factor)
    small_out, large_out = _factors(layer.outputs, factor)
    larger = large_in * large_out * layer.kernel
    if not whole and dim < max(large_in, large_out) / 2:
        larger = dim * (large_in * layer.kernel + large_out)
    return small_in * small_out + larger


@cache
def _factors(side: int, factor: int) -> tuple[int, int]:
    """Split a layer's side into two factors, the smaller first: `factor` if it divides, else the nearest one below.

    -1 makes them as equal as possible.
    """
    if factor > 0 and side % factor == 0:
        return min(factor, side // factor), max(factor, side // factor)
    limit = isqrt(side) if factor < 0 else min(factor, isqrt(side))
    smaller = next(divisor for divisor in range(limit, 0, -1) if side % divisor == 0)
    return smaller, side // smaller


def _by_blocks(size: NetworkSize, arguments: dict[str, str]) -> NetworkSize:
    if not {"block_dims", "conv_block_dims"} & arguments.keys():
        return size
    doubt = "block_dims give each block its own dim: counted as network_dim everywhere"
    return NetworkSize(size.unet, size.text, conv=True, low=0.1, high=2.0, doubt=doubt)


def _unknown(dim: int, doubt: str) -> NetworkSize:
    likely = _counted(_lora, dim, dim, _ALL)
    return replace(likely, merged=UNET_WEIGHTS, low=0.1, high=2.0, doubt=doubt)
