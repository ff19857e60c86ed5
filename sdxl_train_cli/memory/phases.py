"""The phases of a run around its training steps, as GiB on the GPU: loading, caching, samples.

Each counts the models that are on the GPU in the order in which both sd-scripts v0.10.1 and v0.11.1 move them
(train_network.py, sdxl_train_network.py, sdxl_train.py, train_textual_inversion.py):

1. Everything is loaded to RAM, or with lowram to the GPU. U-Net and VAE become float32 unless trained in 16 bits, text
   encoders float32 always. An fp8 base is cast in RAM, with lowram on the GPU.
2. To cache latents, the VAE comes to the GPU and goes; of an embedding's run it stays.
3. To cache outputs, the text encoders come in the precision of mixed_precision and go; sdxl_train.py lets them wait
   until the U-Net is there. lowram leaves the U-Net on the GPU meanwhile.
4. To draw samples, the VAE returns. Text encoders that had left stay where they are: prompts are encoded on the
   processor. inside/sampled.py decodes in strips, and keeps an fp8 U-Net in fp8.

Activations of the VAE are apart from what stands beside them, since the allocator takes more for them than is counted.
PyTorch's allocator is asked to give back what is free between these phases, so that each has its own peak.
"""

from __future__ import annotations

from dataclasses import dataclass

from sdxl_train_cli.memory import activations
from sdxl_train_cli.memory.estimate_inputs import Demand
from sdxl_train_cli.memory.network_size import TEXT_WEIGHTS, UNET_WEIGHTS, VAE_WEIGHTS, VOCABULARY_WEIGHTS

_GIB = 2**30
_FLOAT = 4.0


_DECODED_WHOLE = 1.65
"""GiB reserved for each GiB counted where the VAE decodes a picture at once, in terms of the same where it encodes:
8.3 for 3.0 and 4.2 for 2.5 in float32 (docs/gpu_checks.md)."""
_IN_STRIPS = 1.25
"""The same in strips. Not measured: a strip's share of the workspace, and what the allocator rounds up."""
_DRAWN = 1.5
"""The same for the U-Net's activations, of which nothing is kept: as with gradient checkpointing."""


@dataclass(frozen=True)
class VaePhase:
    """A phase in which the VAE works."""

    beside_gib: float
    """Weights on the GPU, the VAE's included."""
    activations_gib: float
    """What the VAE takes for pictures at once, most of it workspace."""


def loading(demand: Demand) -> float:
    """All models, where they are loaded straight to the GPU."""
    if not demand.lowram:
        return 0.0
    weights = (UNET_WEIGHTS + VAE_WEIGHTS) * demand.loaded_bytes + TEXT_WEIGHTS * _FLOAT
    return weights / _GIB + demand.unmeasured_gib


def caching_latents(demand: Demand) -> VaePhase | None:
    """The VAE at work on `vae_batch_size` pictures; with lowram, the other models beside it."""
    if demand.vae_stays:
        return None
    others = UNET_WEIGHTS * demand.loaded_bytes + TEXT_WEIGHTS * _FLOAT if demand.lowram else 0.0
    weights = (VAE_WEIGHTS * demand.vae_bytes + others) / _GIB + demand.unmeasured_gib
    return VaePhase(weights, encoding(demand, demand.vae_batch))


def caching_text(demand: Demand) -> float:
    """Both text encoders, and one's vocabulary widened on its way back to RAM; the U-Net, where it does not wait."""
    if not demand.caches_text:
        return 0.0
    text = TEXT_WEIGHTS * demand.computing_bytes + VOCABULARY_WEIGHTS * _FLOAT
    unet = UNET_WEIGHTS * (demand.loaded_bytes if demand.lowram else demand.unet_bytes)
    return (text + (unet if demand.lowram or demand.full else 0.0)) / _GIB


def sampling(demand: Demand, staying_gib: float) -> VaePhase | None:
    """A sample is drawn, then decoded, beside what stays. The training's gradients and activations are gone."""
    if not demand.samples:
        return None
    returned = 0.0 if demand.vae_stays or demand.words else VAE_WEIGHTS * demand.vae_bytes / _GIB
    drawn = _DRAWN * demand.sample_area * activations.picture_gib("draw", half=demand.half)
    copies = UNET_WEIGHTS * demand.computing_bytes / _GIB if demand.half and demand.unet_bytes == _FLOAT else 0.0
    way = "decode" if demand.decodes_whole else "strips"
    decoded = demand.sample_area * activations.picture_gib(way, half=demand.vae_bytes < _FLOAT)
    if demand.decodes_whole:
        return VaePhase(staying_gib + returned, _DECODED_WHOLE * decoded)
    return VaePhase(staying_gib + returned + max(drawn + copies, _IN_STRIPS * decoded), 0.0)


def encoding(demand: Demand, pictures: int) -> float:
    """Activations of the VAE for pictures encoded at once."""
    return pictures * demand.area * activations.picture_gib("encode", half=demand.vae_bytes < _FLOAT)
