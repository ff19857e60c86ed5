"""Extract from a recipe what determines its GPU memory: read once, validated, with uncertainties named."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.memory.activations import SIDE
from sdxl_train_cli.memory.network_size import (
    TEXT_ENCODER_1_WEIGHTS,
    TEXT_ENCODER_2_WEIGHTS,
    UNET_WEIGHTS,
    WORD_WEIGHTS,
    NetworkSize,
    network_size,
)
from sdxl_train_cli.memory.optimizer_state import (
    STATES,
    UNKNOWN,
    UNKNOWN_LEAST,
    UNKNOWN_MOST,
    OptimizerState,
    factored_bytes,
)
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.sdscripts.attention import chosen_attention
from sdxl_train_cli.sdscripts.buckets import sides
from sdxl_train_cli.sdscripts.network_arguments import DEFAULT_DIM
from sdxl_train_cli.sdscripts.optimizer import optimizer

_FLOAT, _HALF, _FP8 = 4.0, 2.0, 1.0
_WINDOW = 75
_WORDS = NetworkSize(0, WORD_WEIGHTS)
_WORD_SIDE = 768
"""Numbers of a word in the smaller text encoder: the shorter side of its vocabulary's matrix."""
_LARGEST_SIDE = 8_192
_LARGEST_BATCH = 4_096
_LARGEST_DIM = 16_384
_LARGEST_LOKR_DIM = 1_000_000
"""A dim above that of any layer makes a LoKr keep its second factor whole."""
_LONGEST_SHOWN = 20
"""Characters of a value in an error: 1e300 is an integer of 301 digits."""
_SAMPLES = ("sample_every_n_steps", "sample_every_n_epochs", "sample_at_first")


@dataclass(frozen=True)
class Demand:
    """Settings that determine memory, with weights counted and precisions in bytes."""

    full: bool
    """Whether the U-Net itself is trained (sdxl_train.py) rather than a network."""
    batch: int
    area: float
    """Area of a picture in the largest bucket, in units of 1024x1024."""
    half: bool
    """Whether autocast computes in 16 bits."""
    checkpointing: bool
    spares_attention: bool
    unet_bytes: float
    text_bytes: float
    """Bytes per weight. 0 if the text encoders have left the GPU."""
    trained_bytes: float
    trained_unet: float
    trained_text: float
    network_dim: int
    """Width that autograd keeps between a layer's two matrices. 0 if they are multiplied with each other first."""
    reaches_conv: bool
    merged: float
    """Weights of the U-Net of which a multiplied-out network keeps a copy."""
    optimizer: OptimizerState
    state_bytes: float
    """Optimizer state in bytes per trained weight."""
    accumulates: bool
    gradient_share: float
    """Share of all gradients that exist at once. Below 1 if they are consumed during the backward pass."""
    windows: int
    """Windows of 77 tokens in a caption."""
    vae_bytes: float
    """Bytes per weight in the VAE's own precision."""
    vae_stays: bool
    vae_batch: int
    samples: bool
    sample_area: float
    """Area of the largest sample picture, in the same units."""
    decodes_whole: bool
    """Whether the VAE decodes samples at once, as sd-scripts alone does."""
    caches_text: bool
    """Whether the text encoders' outputs are cached, so that they leave the GPU."""
    lowram: bool
    """Whether all models are loaded straight to the GPU."""
    unmeasured_gib: float = 0.0
    """What loading may take beyond what is counted."""
    scale: float = 1.0
    """Factor on the total for what can't be counted."""
    words: bool = False
    """Whether an embedding is trained: nothing but the vocabularies of both text encoders."""

    @property
    def trained(self) -> float:
        """Number of trained weights."""
        return self.trained_unet + self.trained_text

    @property
    def computing_bytes(self) -> float:
        """Bytes of a weight in the precision of mixed_precision, in which text encoders cache and VAEs run."""
        return _HALF if self.half else _FLOAT

    @property
    def loaded_bytes(self) -> float:
        """Bytes of a weight of the U-Net and the VAE as they are loaded (library/sdxl_train_util.py)."""
        return _HALF if self.half and self.trained_bytes == _HALF else _FLOAT

    @property
    def unet_is_fp8(self) -> bool:
        """Whether the U-Net's weights must be cast for every multiplication."""
        return self.unet_bytes == _FP8

    @property
    def text_is_fp8(self) -> bool:
        """Whether the text encoders' weights, except their vocabulary, must be cast for every multiplication."""
        return self.text_bytes == _FP8


@dataclass(frozen=True)
class Doubt:
    """Something that the settings do not determine: the reason, and the best and worst case."""

    reason: str
    at_best: Mapping[str, object] = field(default_factory=dict)
    at_worst: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Demands:
    """The likely demand, and the doubts that give its range."""

    likely: Demand
    doubts: tuple[Doubt, ...] = ()

    @property
    def least(self) -> Demand:
        """The demand if every doubt is resolved favourably."""
        return self._decided([doubt.at_best for doubt in self.doubts])

    @property
    def most(self) -> Demand:
        """The demand if every doubt is resolved unfavourably."""
        return self._decided([doubt.at_worst for doubt in self.doubts])

    def _decided(self, changes: list[Mapping[str, object]]) -> Demand:
        demand = self.likely
        for change in changes:
            scale = change.get("scale")
            factor = scale if isinstance(scale, float) else 1.0
            demand = replace(demand, **{**change, "scale": demand.scale * factor})  # type: ignore[arg-type]
        return demand


def read(recipe: Recipe) -> Demands:
    """Read a recipe's demand. RecipeError lists every value that is out of range."""
    _require_possible(recipe)
    full, words = recipe.kind is Kind.DREAMBOOTH, recipe.kind is Kind.EMBEDDING
    half = recipe.get("mixed_precision") in {"fp16", "bf16"}
    size = _WORDS if words else _full_size(recipe) if full else _network_size(recipe)
    dim = _WORD_SIDE if words else _integer(recipe, "network_dim") or DEFAULT_DIM
    trained_bytes = _HALF if half and _is_any_on(recipe, "full_bf16", "full_fp16") else _FLOAT
    state, state_doubts = _optimizer(recipe)
    likely = Demand(
        full=full,
        batch=_integer(recipe, "train_batch_size") or 1,
        area=_area(recipe),
        half=half,
        checkpointing=recipe.is_on("gradient_checkpointing"),
        spares_attention=chosen_attention(recipe) is not None,
        unet_bytes=_unet_bytes(recipe, size, half=half, trained_bytes=trained_bytes),
        text_bytes=_text_bytes(recipe, size, half=half, trained_bytes=trained_bytes),
        trained_bytes=trained_bytes,
        trained_unet=size.unet,
        trained_text=size.text,
        network_dim=0 if size.merged else min(dim, _LARGEST_DIM),
        reaches_conv=size.conv,
        merged=size.merged,
        optimizer=state,
        state_bytes=_state_bytes(state, size, None if full else dim, trained_bytes),
        accumulates=(_integer(recipe, "gradient_accumulation_steps") or 1) > 1,
        gradient_share=_gradient_share(recipe) if full else 1.0,
        windows=max(1, math.ceil((_integer(recipe, "max_token_length") or _WINDOW) / _WINDOW)),
        vae_bytes=_FLOAT if recipe.is_on("no_half_vae") or not half else _HALF,
        vae_stays=not _is_any_on(recipe, "cache_latents", "cache_latents_to_disk"),
        vae_batch=_integer(recipe, "vae_batch_size") or 1,
        samples=recipe.get("sample_prompts") is not None and any(recipe.get(option) for option in _SAMPLES),
        sample_area=_area(recipe) if recipe.sample_pixels is None else recipe.sample_pixels / SIDE**2,
        decodes_whole=recipe.decodes_whole,
        caches_text=_caches_text(recipe),
        lowram=recipe.is_on("lowram"),
        words=words,
    )
    return Demands(likely, (*state_doubts, *_size_doubts(size), *_other_doubts(recipe)))


def _require_possible(recipe: Recipe) -> None:
    lokr = "lokr" in f"{recipe.get('network_module')} {recipe.arguments('network_args').get('algo')}".lower()
    limits = {
        "train_batch_size": _LARGEST_BATCH,
        "gradient_accumulation_steps": 1_000_000,
        "vae_batch_size": _LARGEST_BATCH,
        "max_token_length": 10_000,
        "fused_optimizer_groups": 1_000_000,
        "network_dim": _LARGEST_LOKR_DIM if lokr else _LARGEST_DIM,
    }
    problems = [problem for option, limit in limits.items() if (problem := _out_of_range(recipe, option, limit))]
    arguments = recipe.arguments("network_args")
    for key, least in (("conv_dim", 0), ("factor", -1)):
        text = arguments.get(key, "1").strip()
        if not text.removeprefix("-").isdigit() or not least <= int(text) <= _LARGEST_LOKR_DIM:
            problems.append(recipe.problem("network_args", f"{key}={text} in network_args is not a size"))
    size = sides(recipe)
    if size is None or not all(0 < side <= _LARGEST_SIDE for side in size):
        shown = recipe.get("resolution")
        message = "resolution is missing" if shown is None else f"resolution {shown} is not a size to train at"
        problems.append(recipe.problem("resolution", message, "--set resolution=1024"))
    if problems:
        raise RecipeError(problems)


def _out_of_range(recipe: Recipe, option: str, limit: int) -> Problem | None:
    value = recipe.get(option)
    least = 0 if option == "fused_optimizer_groups" else 1
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and least <= value <= limit):
        return None
    text = str(value)
    shown = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
    return recipe.problem(option, f"{option} is {shown}: a whole number from {least} to {limit}")


def _integer(recipe: Recipe, option: str) -> int | None:
    value = recipe.number(option)
    return None if value is None else int(value)


def _is_any_on(recipe: Recipe, *options: str) -> bool:
    return any(recipe.is_on(option) for option in options)


def _caches_text(recipe: Recipe) -> bool:
    return _is_any_on(recipe, "cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk")


def _area(recipe: Recipe) -> float:
    """Buckets have at most as many pixels as `resolution` (library/model_util.py, make_bucket_resolutions)."""
    width, height = sides(recipe) or (SIDE, SIDE)
    return width * height / SIDE**2


def _full_size(recipe: Recipe) -> NetworkSize:
    """Weights trained by sdxl_train.py: everything with a learning rate other than zero."""
    rate = recipe.number("learning_rate")
    text = 0
    if recipe.is_on("train_text_encoder"):
        for option, weights in (
            ("learning_rate_te1", TEXT_ENCODER_1_WEIGHTS),
            ("learning_rate_te2", TEXT_ENCODER_2_WEIGHTS),
        ):
            own = recipe.number(option)
            text += weights if (rate if own is None else own) != 0 else 0
    return NetworkSize(0 if rate == 0 else UNET_WEIGHTS, text, conv=True)


def _network_size(recipe: Recipe) -> NetworkSize:
    arguments = recipe.arguments("network_args")
    conv_dim = int(arguments["conv_dim"]) if "conv_dim" in arguments else None
    size = network_size(
        str(recipe.get("network_module") or ""),
        _integer(recipe, "network_dim") or DEFAULT_DIM,
        arguments,
        conv_dim,
        int(arguments.get("factor", "-1")),
    )
    unet = 0.0 if recipe.is_on("network_train_text_encoder_only") else size.unet
    text = 0.0 if recipe.is_on("network_train_unet_only") else size.text
    return replace(size, unet=unet, text=text)


def _unet_bytes(recipe: Recipe, size: NetworkSize, *, half: bool, trained_bytes: float) -> float:
    if recipe.kind is Kind.DREAMBOOTH and size.unet:
        return trained_bytes
    if recipe.kind.is_network and half and _is_any_on(recipe, "fp8_base", "fp8_base_unet"):
        return _FP8
    return _HALF if half else _FLOAT


def _text_bytes(recipe: Recipe, size: NetworkSize, *, half: bool, trained_bytes: float) -> float:
    if _caches_text(recipe):
        return 0.0
    if not recipe.kind.is_network and size.text:
        return trained_bytes
    casts = recipe.is_on("fp8_base") and not recipe.is_on("fp8_base_unet")
    if recipe.kind.is_network and half and casts:
        return _FP8
    return _HALF if half else _FLOAT


def _gradient_share(recipe: Recipe) -> float:
    """A fused backward pass holds the gradient of one tensor, or of one group, at a time."""
    if recipe.is_on("fused_backward_pass"):
        return 0.0
    groups = _integer(recipe, "fused_optimizer_groups") or 1
    return 1 / max(1, groups)


def _optimizer(recipe: Recipe) -> tuple[OptimizerState, list[Doubt]]:
    name = optimizer(recipe)
    state = STATES.get(name)
    if state is None:
        reason = f"what the optimizer {recipe.get('optimizer_type')} keeps in memory is unknown: counted as for AdamW"
        worst = {"optimizer": UNKNOWN_MOST, "state_bytes": UNKNOWN_MOST.copies * _FLOAT}
        return UNKNOWN, [Doubt(reason, {"optimizer": UNKNOWN_LEAST, "state_bytes": 0.0}, worst)]
    if state.is_paged:
        return state, [Doubt(f"{name} may move its state out of the GPU", {"state_bytes": 0.0})]
    return state, []


def _state_bytes(state: OptimizerState, size: NetworkSize, dim: int | None, weight_bytes: float) -> float:
    if state.is_factored:
        return factored_bytes(dim, conv=size.conv and dim is not None)
    return state.bytes_per_weight(weight_bytes)


def _size_doubts(size: NetworkSize) -> list[Doubt]:
    doubts = []
    if size.low != 1.0 or size.high != 1.0:
        best = {"trained_unet": size.unet * size.low, "trained_text": size.text * size.low}
        worst = {"trained_unet": size.unet * size.high, "trained_text": size.text * size.high}
        doubts.append(Doubt(size.doubt or "the network's weights are counted to within 10 %", best, worst))
    if size.merged and size.doubt:
        doubts.append(Doubt("it may add its weights to the model's in every step", {"merged": 0.0}))
    return doubts


def _other_doubts(recipe: Recipe) -> list[Doubt]:
    doubts = []
    if recipe.kind is Kind.EMBEDDING:
        reason = "no training of an embedding was measured on a GPU yet: all of it is counted"
        doubts.append(Doubt(reason, {"scale": 0.9}, {"scale": 1.1}))
    if recipe.is_on("lowram"):
        # The file's tensors are there beside those made from them, and leave gaps that larger ones do not fill.
        reason = "how much loading straight to the GPU takes was never measured"
        doubts.append(Doubt(reason, {}, {"unmeasured_gib": 4.0}))
    if recipe.is_on("torch_compile"):
        doubts.append(Doubt("how torch_compile changes memory use is unknown", {"scale": 0.8}, {"scale": 1.2}))
    if recipe.is_on("deepspeed"):
        doubts.append(Doubt("deepspeed spreads memory over GPUs and RAM", {"scale": 0.3}, {"scale": 1.2}))
    if recipe.is_on("fused_backward_pass") and recipe.is_on("full_bf16"):
        # sd-scripts' pull request 1259 reports 10 GB, and OneTrainer 10.3, where the terms add up to 7.5.
        doubts.append(Doubt("others have reported 10 GB for a fused backward pass in bf16", {}, {"scale": 1.3}))
    if recipe.is_on("dim_from_weights"):
        doubts.append(Doubt("network_dim comes from the weights that are loaded", {"scale": 0.9}, {"scale": 1.5}))
    return doubts
