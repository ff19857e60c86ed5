"""Estimate a run's GPU memory from first principles: named terms, and a range derived from measurements.

A run has phases, and needs what the largest of them takes: those of `phases.py`, and the training step. In a step, some
memory stays. Some comes and goes: the forward pass keeps activations, the backward pass turns them into gradients.
PyTorch's caching allocator reuses blocks only if their sizes fit, so both cost more than the larger one and less than
their sum: the root of a sum of powers. CUDA's context, which belongs to the machine, is added. docs/vram.md shows how
well this matches measured runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from sdxl_train_cli.memory import activations, cuda_context, fitted_constants, phases
from sdxl_train_cli.memory.cuda_context import CudaContext
from sdxl_train_cli.memory.estimate_inputs import Demand, Demands, read
from sdxl_train_cli.memory.fitted_constants import EstimateSpread, FittedConstants
from sdxl_train_cli.memory.network_size import EMBEDDING_WEIGHTS, TEXT_WEIGHTS, UNET_WEIGHTS, VAE_WEIGHTS
from sdxl_train_cli.memory.phases import VaePhase
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Recipe, Setting, Value

_GIB = 2**30
_HALF = 2.0
_FLOAT = 4.0
_LARGEST_TENSOR = 29_491_200
"""Weights of the U-Net's largest tensor: used for a gradient that is consumed at once and for a float32 step."""
_STEP_TENSORS = 3
"""Float32 tensors of that size that an optimizer works with, tensor by tensor."""
TRAINING = "training"


@dataclass(frozen=True)
class Estimate:
    """Expected memory of a run, Python process only."""

    low_gib: float
    likely_gib: float
    high_gib: float
    doubts: tuple[str, ...] = ()
    """Reasons for a range wider than the measurements'."""
    phase: str = TRAINING
    """What the run does when it needs most."""


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


def estimate(recipe: Recipe, context: CudaContext | None = None) -> Estimate:
    """Estimate a run's memory on a GPU with this context. RecipeError if values are out of range."""
    return estimate_demands(read(recipe), *fitted_constants.load(), context or cuda_context.expected())


def drawing_gib(recipe: Recipe, context: CudaContext) -> tuple[float, float]:
    """The range of what a run takes while it draws samples, whatever its training takes."""
    demands, (constants, spread) = read(recipe), fitted_constants.load()
    low, high = (
        demand.scale * by_phase(count(demand), given)["drawing samples"]
        for demand, given in ((demands.least, constants), (demands.most, constants.at_worst))
    )
    return context.low_gib + low * spread.low, context.high_gib + high * spread.high


def buckets_gib(recipe: Recipe) -> float:
    """What DistributedDataParallel keeps besides, with several GPUs: buckets as large as all gradients.

    It makes them at the start (torch, reducer.cpp: initialize_buckets), for a network too, whose gradients sd-scripts
    averages by itself (train_network.py: all_reduce_network). A checkpointed text encoder that is trained through a
    network has an embedding with gradients, which is wrapped as well.
    """
    demand = read(recipe).likely
    views = demand.full and recipe.is_on("ddp_gradient_as_bucket_view")  # the gradients are the buckets
    own = 0.0 if views else demand.trained * demand.trained_bytes / _GIB
    return own + vocabulary_gradient(demand)


def estimate_demands(
    demands: Demands, constants: FittedConstants, spread: EstimateSpread, context: CudaContext
) -> Estimate:
    """Estimate with the given constants instead of the shipped ones."""
    likely = count(demands.likely)
    taken = by_phase(likely, constants)
    return Estimate(
        low_gib=context.low_gib + reserved_gib(count(demands.least), constants) * spread.low,
        likely_gib=context.likely_gib + reserved_gib(likely, constants),
        high_gib=context.high_gib + reserved_gib(count(demands.most), constants.at_worst) * spread.high,
        doubts=tuple(doubt.reason for doubt in demands.doubts),
        phase=max(taken, key=lambda name: taken[name]),
    )


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


def reserved_gib(counted: CountedRun, constants: FittedConstants) -> float:
    """What PyTorch's allocator takes: the largest phase's."""
    return counted.scale * max(by_phase(counted, constants).values())


def by_phase(counted: CountedRun, constants: FittedConstants) -> Mapping[str, float]:
    """GiB that each phase takes, by what is done in it."""
    factor = constants.checkpointed if counted.checkpointing else constants.activations
    parts = [factor * counted.kept + counted.copies, counted.update, constants.vae * counted.encoded]
    return {
        TRAINING: counted.staying + constants.workspaces_gib + _together(parts, constants.overlap),
        "loading models": counted.loading,
        "caching latents": _with_vae(counted.caching_latents, constants),
        "caching captions": counted.caching_text,
        "drawing samples": _with_vae(counted.sampling, constants),
    }


def _with_vae(phase: VaePhase | None, constants: FittedConstants) -> float:
    return 0.0 if phase is None else phase.beside_gib + constants.vae * phase.activations_gib


def _together(parts: list[float], overlap: float) -> float:
    largest = max(parts)
    shares = sum((part / largest) ** overlap for part in parts)
    together: float = largest * shares ** (1 / overlap)
    return together


@dataclass(frozen=True)
class CountedRun:
    """GiB of everything that is counted, before any constant."""

    staying: float
    """There for the whole run."""
    kept: float
    """Activations of a step, and the recomputed peak."""
    copies: float
    update: float
    encoded: float
    """Activations of the VAE for a step's pictures that are not cached."""
    checkpointing: bool
    loading: float
    caching_latents: VaePhase | None
    caching_text: float
    sampling: VaePhase | None
    forward: float
    """What tensors take when the first forward pass has ended: the allocator apart, this is all of it."""
    scale: float


def count(demand: Demand) -> CountedRun:
    """Count a run's bytes."""
    staying = sum(term(demand) for term in STAYING)
    later = optimizer_states(demand) + vocabulary_gradient(demand) + accumulated_gradients(demand)
    copies = weight_copies(demand)
    at_once = demand.batch if demand.full or demand.words else min(demand.batch, demand.vae_batch)
    return CountedRun(
        staying=staying,
        kept=kept_activations(demand),
        copies=copies,
        update=update(demand),
        encoded=phases.encoding(demand, at_once) if demand.vae_stays else 0.0,
        checkpointing=demand.checkpointing,
        loading=phases.loading(demand),
        caching_latents=phases.caching_latents(demand),
        caching_text=phases.caching_text(demand),
        sampling=phases.sampling(demand, staying - accumulated_gradients(demand)),
        forward=staying - later + copies + kept_activations(demand, recomputed=False),
        scale=demand.scale,
    )


def unet_weights(demand: Demand) -> float:
    """SDXL's U-Net in the precision that the training script uses (train_network.py, sdxl_train.py)."""
    return UNET_WEIGHTS * demand.unet_bytes / _GIB


def text_encoder_weights(demand: Demand) -> float:
    """Both text encoders, unless their outputs are cached. fp8 keeps the vocabulary in 16 bits (train_network.py)."""
    vocabulary = EMBEDDING_WEIGHTS if demand.text_is_fp8 else 0
    return (TEXT_WEIGHTS * demand.text_bytes + vocabulary) / _GIB


def vae_weights(demand: Demand) -> float:
    """The VAE, which leaves the GPU once latents are cached (train_network.py, sdxl_train.py).

    In train_textual_inversion.py it stays.
    """
    return VAE_WEIGHTS * demand.vae_bytes / _GIB if demand.vae_stays or demand.words else 0.0


def network_weights(demand: Demand) -> float:
    """A network's weights: float32, or 16 bits with full_bf16 and full_fp16 (train_network.py).

    Of an embedding the vocabularies as they were, from which all other words are put back after each step
    (train_textual_inversion.py).
    """
    if demand.words:
        return demand.trained * _FLOAT / _GIB
    return 0.0 if demand.full else demand.trained * demand.trained_bytes / _GIB


def optimizer_states(demand: Demand) -> float:
    """Optimizer state of all trained weights (see optimizer_state.py for each package)."""
    return demand.trained * demand.state_bytes / _GIB


def vocabulary_gradient(demand: Demand) -> float:
    """Embedding gradient of checkpointed text encoders, which is never freed (train_network.py)."""
    trains_beside = demand.checkpointing and not (demand.full or demand.words) and demand.trained_text > 0
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
    if demand.words:
        is_cast = demand.half and demand.text_bytes == _FLOAT and not demand.checkpointing
        return activations.text_casts_gib() if is_cast else 0.0
    text_goes = demand.checkpointing and not demand.full  # it has an autocast of its own, which forgets them
    copied = demand.trained_unet if text_goes else demand.trained
    copies = copied * _HALF / _GIB if demand.half and demand.trained_bytes == _FLOAT else 0.0
    if demand.unet_is_fp8:
        copies += activations.fp8_casts_gib(checkpointing=demand.checkpointing)
    if demand.text_is_fp8 and demand.trained_text and not demand.checkpointing:
        copies += activations.text_casts_gib()
    if not demand.checkpointing:
        copies += demand.merged * (_HALF if demand.half else _FLOAT) / _GIB
    return copies


def kept_activations(demand: Demand, *, recomputed: bool = True) -> float:
    """Activations of the whole batch (activations.csv, counted on the real U-Net): kept, and the recomputed peak."""
    gc = demand.checkpointing
    case = activations.StepSettings(checkpointing=gc, half=demand.half, windows=demand.windows, recomputed=recomputed)
    if demand.words:
        image = activations.words_gib(case)
    elif demand.full:
        image = activations.full_gib(case, half_weights=demand.unet_bytes == _HALF)
    else:
        image = activations.network_gib(case, demand.network_dim, conv=demand.reaches_conv)
    image *= demand.area
    if not demand.spares_attention:
        image += activations.attention_maps_gib(demand.area, checkpointing=gc)
    kept = demand.batch * image
    if demand.trained_text:
        trained = "words" if demand.words else "full" if demand.full else "lora"
        kept += activations.text_gib(case, demand.batch * demand.windows, trained=trained)
    return kept


def update(demand: Demand) -> float:
    """The optimizer step: gradients and working memory."""
    passing = demand.trained * demand.trained_bytes * demand.optimizer.passing_copies * demand.gradient_share
    tensors = _STEP_TENSORS * min(_LARGEST_TENSOR, demand.trained) * _FLOAT if demand.optimizer.is_factored else 0.0
    return (0.0 if demand.accumulates else gradients(demand)) + max(passing, tensors) / _GIB


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
