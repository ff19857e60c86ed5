"""How many weights a network adds to SDXL: closed forms of what the network modules build, or an honest span."""

from __future__ import annotations

from dataclasses import dataclass

UNET_WEIGHTS = 2_567_463_684
"""SDXL's U-Net: the parameters of library/sdxl_original_unet.py."""
TEXT_ENCODER_1_WEIGHTS = 123_060_480
TEXT_ENCODER_2_WEIGHTS = 694_659_840
TEXT_WEIGHTS = TEXT_ENCODER_1_WEIGHTS + TEXT_ENCODER_2_WEIGHTS
EMBEDDING_WEIGHTS = (49_408 + 77) * (768 + 1_280)
"""Of both text encoders: the vocabulary and the places of a window, by their widths."""
VAE_WEIGHTS = 83_653_863

# What one more dim adds, summed over the modules that a network reaches: inputs plus outputs of each.
_UNET_PER_DIM = 2_659_840
_TEXT_PER_DIM = 165_888 + 737_280
_LOCON_UNET_PER_DIM = 2_718_400
_LOCON_UNET_PER_CONV_DIM = 355_840
# The same modules' own weights and number, for a LoKr that keeps its second factor whole.
_UNET_REACHED, _TEXT_REACHED = 2_558_900_000, 714_000_000
_UNET_MODULES, _TEXT_MODULES = 788, 264
_LOKR_BALANCED = 32
"""What factor=-1 comes to: the sides of SDXL's layers split into nearly equal halves, such as 32 x 40."""
_LOKR_WHOLE = 10_000

_AS_LORA = frozenset({"networks.lora", "networks.dylora", "networks.lora_fa"})
_LYCORIS_LORA = frozenset({"", "lora", "locon"})


@dataclass(frozen=True)
class NetworkSize:
    """Weights of a network by where they sit, and how far off the figure may be."""

    unet: float
    text: float
    conv: bool = False
    """Whether convolutions are reached, whose inputs autograd then keeps."""
    merges: bool = False
    """Whether the module adds its product to the layer's weight in each step, at the full size of that weight."""
    low: float = 1.0
    high: float = 1.0
    doubt: str | None = None


def network_size(module: str, dim: int, arguments: dict[str, str], conv_dim: int | None, factor: int) -> NetworkSize:
    """Count the weights of a network module as sd-scripts or LyCORIS would build it.

    The constants are sums over the modules of v0.10.1 and LyCORIS 3.2; an unknown module is taken for a LoRA of its
    dim, within a wide span and with the reason.
    """
    algo = arguments.get("algo", "").lower()
    if module in _AS_LORA:
        return _by_blocks(_lora(dim, conv_dim), arguments)
    if module == "lycoris.kohya":
        return _lycoris(algo, dim, dim if conv_dim is None else conv_dim, factor)
    if module == "networks.loha":
        return _times(_lora(dim, conv_dim), 2, merges=True)
    if module == "networks.lokr":
        return _lokr(dim, conv_dim, factor)
    return _unknown(dim, f"network_module {module or '(none)'} is not known: taken for a LoRA of dim {dim}")


def _lycoris(algo: str, dim: int, conv_dim: int, factor: int) -> NetworkSize:
    if algo in _LYCORIS_LORA:
        return _lora(dim, conv_dim)
    if algo == "loha":
        return _times(_lora(dim, conv_dim), 2, merges=True)
    if algo == "lokr":
        return _lokr(dim, conv_dim, factor)
    if algo == "full":
        return NetworkSize(_UNET_REACHED, _TEXT_REACHED, conv=True, merges=True)
    return _unknown(dim, f"LyCORIS' algo={algo} is not counted: taken for a LoRA of dim {dim}")


def _lora(dim: int, conv_dim: int | None) -> NetworkSize:
    text = float(_TEXT_PER_DIM * dim)
    if not conv_dim:
        return NetworkSize(float(_UNET_PER_DIM * dim), text)
    return NetworkSize(float(_LOCON_UNET_PER_DIM * dim + _LOCON_UNET_PER_CONV_DIM * conv_dim), text, conv=True)


def _times(size: NetworkSize, times: int, *, merges: bool) -> NetworkSize:
    return NetworkSize(size.unet * times, size.text * times, conv=size.conv, merges=merges)


def _lokr(dim: int, conv_dim: int | None, factor: int) -> NetworkSize:
    """Each layer is a Kronecker product: one factor of factor x factor, the other low-rank, or whole where smaller."""
    split = _LOKR_BALANCED if factor <= 0 else factor
    whole = NetworkSize(_UNET_REACHED, _TEXT_REACHED)
    ranked = whole if dim >= _LOKR_WHOLE else _lora(dim, conv_dim)
    unet = min(ranked.unet / split, whole.unet / split**2) + _UNET_MODULES * split**2
    text = min(ranked.text / split, whole.text / split**2) + _TEXT_MODULES * split**2
    return NetworkSize(unet, text, conv=bool(conv_dim), merges=True, low=0.9, high=1.1)


def _by_blocks(size: NetworkSize, arguments: dict[str, str]) -> NetworkSize:
    if not {"block_dims", "conv_block_dims"} & arguments.keys():
        return size
    doubt = "block_dims give each block a dim of its own: taken for network_dim everywhere"
    return NetworkSize(size.unet, size.text, conv=True, low=0.1, high=2.0, doubt=doubt)


def _unknown(dim: int, doubt: str) -> NetworkSize:
    likely = _lora(dim, dim)
    return NetworkSize(likely.unet, likely.text, conv=True, merges=True, low=0.1, high=2.0, doubt=doubt)
