"""Estimate a run's GPU memory from first principles: named terms, and a range derived from measurements.

Some memory stays for the whole run. Some comes and goes within each step, in phases: the forward pass keeps
activations, the backward pass turns them into gradients, and the VAE may encode pictures before. PyTorch's caching
allocator reuses one phase's blocks in the next only if their sizes fit, so the phases cost more than the largest and
less than their sum: the root of a sum of powers. docs/vram.md shows how well this matches the table.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from sdxl_train_cli.memory import activations
from sdxl_train_cli.memory.estimate_inputs import Demand, Demands, read
from sdxl_train_cli.memory.network_size import EMBEDDING_WEIGHTS, TEXT_WEIGHTS, UNET_WEIGHTS, VAE_WEIGHTS
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Recipe, Setting, Value

CONSTANTS = Path(__file__).with_name("vram_constants.json")
_GIB = 2**30
_HALF = 2.0
_FLOAT = 4.0
_LARGEST_TENSOR = 29_491_200
"""Weights of the U-Net's largest tensor: used for a gradient that is consumed at once and for a float32 step."""
_STEP_TENSORS = 3
"""Float32 tensors of that size that an optimizer works with, tensor by tensor."""


@dataclass(frozen=True)
class FittedConstants:
    """Constants that first principles do not provide, fitted to the measured table by scripts/fit_vram.py."""

    context_gib: float
    """CUDA's context, its libraries and their workspaces."""
    activations: float
    """GiB reserved for each GiB of activations that autograd keeps: rounding, workspaces, fragments."""
    checkpointed: float
    """The same factor with gradient checkpointing, which recomputes most activations."""
    overlap: float
    """Exponent with which phases add up: 1 is their sum, a large one the largest of them."""


@dataclass(frozen=True)
class EstimateSpread:
    """Largest deviations of measured cells from estimates that have not seen their row, as factors."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """Expected memory of a run, Python process only."""

    low_gib: float
    likely_gib: float
    high_gib: float
    doubts: tuple[str, ...] = ()
    """Reasons for a range wider than the measurements'."""


class MeasuredRow(Protocol):
    """A row of the measured table, as far as this module reads it."""

    @property
    def kind(self) -> Kind: ...  # noqa: D102  the names suffice
    @property
    def network_dim(self) -> int | None: ...  # noqa: D102
    @property
    def conv_dim(self) -> int | None: ...  # noqa: D102
    @property
    def full_bf16(self) -> bool: ...  # noqa: D102
    @property
    def fp8_base(self) -> bool: ...  # noqa: D102
    @property
    def gradient_checkpointing(self) -> bool: ...  # noqa: D102


def estimate(recipe: Recipe) -> Estimate:
    """Estimate a run's memory. RecipeError if values are out of range."""
    return estimate_demands(read(recipe), *load_constants())


def estimate_demands(demands: Demands, constants: FittedConstants, spread: EstimateSpread) -> Estimate:
    """Estimate with the given constants instead of the shipped ones."""
    return Estimate(
        low_gib=total_gib(demands.least, constants) * spread.low,
        likely_gib=total_gib(demands.likely, constants),
        high_gib=total_gib(demands.most, constants) * spread.high,
        doubts=tuple(doubt.reason for doubt in demands.doubts),
    )


@cache
def load_constants() -> tuple[FittedConstants, EstimateSpread]:
    """The shipped constants."""
    shipped = json.loads(CONSTANTS.read_text(encoding="utf-8"))
    return FittedConstants(**shipped["constants"]), EstimateSpread(**shipped["spread"])


def table_recipe(row: MeasuredRow, batch_size: int) -> Recipe:
    """A row of the measured table as a recipe, with unspecified settings chosen as they fit it best.

    These are: 1024x1024, AdamW8bit, text encoders trained, latents cached, bf16, and a memory-efficient attention.
    """
    values: dict[str, Value | None] = {
        "mixed_precision": "bf16",
        "xformers": True,
        "resolution": f"{activations.SIDE},{activations.SIDE}",
        "cache_latents": True,
        "optimizer_type": "AdamW8bit",
        "train_batch_size": batch_size,
        "gradient_checkpointing": row.gradient_checkpointing,
        "full_bf16": row.full_bf16,
        "fp8_base": row.fp8_base,
        "train_text_encoder": True if row.kind is Kind.DREAMBOOTH else None,
        "network_module": None if row.kind is Kind.DREAMBOOTH else "networks.lora",
        "network_dim": row.network_dim,
        "network_args": None if row.conv_dim is None else (f"conv_dim={row.conv_dim}",),
    }
    origin = Origin("the table")
    settings = {name: Setting(value=value, origin=origin) for name, value in values.items() if value is not None}
    return Recipe(kind=row.kind, name="measured", description="", settings=settings)


def total_gib(demand: Demand, constants: FittedConstants) -> float:
    """The whole need: what stays, and the phases of a step, which share memory; or caching, where that takes more."""
    phases = [phase(demand, constants) for phase in PHASES]
    largest = max(phases)
    shares = sum((phase / largest) ** constants.overlap for phase in phases)
    together: float = largest * shares ** (1 / constants.overlap)
    training = constants.context_gib + sum(term(demand) for term in STAYING) + together
    return demand.scale * max(training, caching(demand, constants))


def unet_weights(demand: Demand) -> float:
    """SDXL's U-Net in the precision that the training script uses (train_network.py, sdxl_train.py)."""
    return UNET_WEIGHTS * demand.unet_bytes / _GIB


def text_encoder_weights(demand: Demand) -> float:
    """Both text encoders, unless their outputs are cached. fp8 keeps the vocabulary in 16 bits (train_network.py)."""
    vocabulary = EMBEDDING_WEIGHTS if demand.text_is_fp8 else 0
    return (TEXT_WEIGHTS * demand.text_bytes + vocabulary) / _GIB


def vae_weights(demand: Demand) -> float:
    """The VAE, which leaves the GPU once latents are cached (train_network.py, sdxl_train.py)."""
    return VAE_WEIGHTS * demand.vae_bytes / _GIB if demand.vae_stays else 0.0


def network_weights(demand: Demand) -> float:
    """A network's weights: float32, or 16 bits with full_bf16 and full_fp16 (train_network.py)."""
    return 0.0 if demand.full else demand.trained * demand.trained_bytes / _GIB


def optimizer_states(demand: Demand) -> float:
    """Optimizer state of all trained weights (see optimizer_state.py for each package)."""
    return demand.trained * demand.state_bytes / _GIB


def vocabulary_gradient(demand: Demand) -> float:
    """Embedding gradient of checkpointed text encoders, which is never freed (train_network.py)."""
    trains_beside = demand.checkpointing and not demand.full and demand.trained_text > 0
    return EMBEDDING_WEIGHTS * (_HALF if demand.half else _FLOAT) / _GIB if trains_beside else 0.0


def accumulated_gradients(demand: Demand) -> float:
    """Gradients kept for the next micro-batch, at the same time as its activations (accelerate's accumulate)."""
    return gradients(demand) if demand.accumulates else 0.0


def gradients(demand: Demand) -> float:
    """Gradients in the weights' precision. A fused backward pass consumes each at once (sdxl_train.py)."""
    each = demand.trained * demand.trained_bytes * demand.gradient_share
    return max(each, min(_LARGEST_TENSOR, demand.trained) * demand.trained_bytes) / _GIB


def weight_copies(demand: Demand) -> float:
    """16-bit copies of trained float32 weights, which autocast makes and keeps through the forward pass.

    An fp8 base is cast for each multiplication. Autograd keeps the cast weights for the backward pass, all of them
    unless checkpointing drops them: without it, fp8 costs memory.
    """
    copies = demand.trained * _HALF / _GIB if demand.half and demand.trained_bytes == _FLOAT else 0.0
    if demand.unet_is_fp8:
        copies += activations.fp8_casts_gib(checkpointing=demand.checkpointing)
    if demand.text_is_fp8 and demand.trained_text and not demand.checkpointing:
        copies += activations.text_casts_gib()
    if not demand.checkpointing:
        copies += demand.merged * (_HALF if demand.half else _FLOAT) / _GIB
    return copies


def kept_activations(demand: Demand) -> float:
    """Activations of the whole batch: kept, and the recomputed peak (activations.csv, counted on the real U-Net)."""
    gc = demand.checkpointing
    if demand.full:
        half_weights = demand.unet_bytes == _HALF
        image = activations.full_gib(checkpointing=gc, half_weights=half_weights, half=demand.half)
    else:
        image = activations.network_gib(
            demand.network_dim, conv=demand.reaches_conv, checkpointing=gc, half=demand.half
        )
    image *= demand.area
    if not demand.spares_attention:
        image += activations.attention_maps_gib(demand.area, checkpointing=gc)
    kept = demand.batch * image
    if demand.trained_text:
        kept += activations.text_gib(demand.batch * demand.windows, full=demand.full, checkpointing=gc)
    return kept


def forward(demand: Demand, constants: FittedConstants) -> float:
    """Phase up to the loss: reserved activations, and copies of weights."""
    factor = constants.checkpointed if demand.checkpointing else constants.activations
    return factor * kept_activations(demand) + weight_copies(demand)


def update(demand: Demand, _constants: FittedConstants) -> float:
    """Phase of the optimizer step: gradients and working memory."""
    passing = demand.trained * demand.trained_bytes * demand.optimizer.passing_copies * demand.gradient_share
    tensors = _STEP_TENSORS * min(_LARGEST_TENSOR, demand.trained) * _FLOAT if demand.optimizer.is_factored else 0.0
    return (0.0 if demand.accumulates else gradients(demand)) + max(passing, tensors) / _GIB


def pictures(demand: Demand, _constants: FittedConstants) -> float:
    """The VAE during training: encoding uncached pictures, and decoding samples, for which it returns to the GPU."""
    half = demand.vae_bytes == _HALF
    encoded = 0.0
    if demand.vae_stays:
        at_once = demand.batch if demand.full else min(demand.batch, demand.vae_batch)
        encoded = at_once * demand.area * activations.picture_gib("encode", half=half)
    if not demand.samples:
        return encoded
    returned = 0.0 if demand.vae_stays else VAE_WEIGHTS * demand.vae_bytes / _GIB
    return max(encoded, returned + demand.area * activations.picture_gib("decode", half=half))


def caching(demand: Demand, constants: FittedConstants) -> float:
    """Total while latents are cached, before the U-Net is on the GPU (train_network.py, sdxl_train.py)."""
    if demand.vae_stays:
        return 0.0
    encoded = activations.picture_gib("encode", half=demand.vae_bytes == _HALF) * demand.vae_batch * demand.area
    return constants.context_gib + VAE_WEIGHTS * demand.vae_bytes / _GIB + encoded


STAYING: tuple[Callable[[Demand], float], ...] = (
    unet_weights,
    text_encoder_weights,
    vae_weights,
    network_weights,
    optimizer_states,
    vocabulary_gradient,
    accumulated_gradients,
)
"""What is there for the whole run."""
PHASES: tuple[Callable[[Demand, FittedConstants], float], ...] = (forward, update, pictures)
"""What comes and goes within a step."""
