"""Values at the end of their range that leave nothing to learn, or much less: a table, read from sd-scripts v0.10.1.

The sources are networks/lora.py, process_caption, conditional_loss and get_noise_noisy_latents_and_timesteps in
library/train_util.py, and networks/network_base.py of v0.11.1.
"""

from __future__ import annotations

from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.rules.rule import NETWORK_KINDS, Rule, is_set, lacks, sets, ways
from sdxl_train_cli.sdscripts import lycoris, network_arguments

_FULL = (Kind.DREAMBOOTH,)
_DROPOUTS = ("rank_dropout", "module_dropout", "dropout")
_HUBER = {"huber", "smooth_l1"}
_MUCH_NOISE = 0.3
"""SDXL itself was trained with a noise offset of 0.0357; what people use ends at 0.1."""
_MUCH_PERTURBATION = 0.5
_USUAL_MEAN = 0.3
"""A guess at the mean of a channel of SDXL's latents, whose values spread by about 1. Not measured."""
_LITTLE_GAMMA = 0.1
_LITTLE_NORM = 0.1
_LITTLE_SCALE = 1 / 256
_FEW_TIMESTEPS = 50
_TIMESTEPS = 1000
_FROM_FILE = ("network_dim", "network_alpha", "network_dropout")


def _arguments(recipe: Recipe) -> dict[str, str]:
    return recipe.arguments("network_args")


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _drops_everything(recipe: Recipe) -> bool:
    return max((_number(_arguments(recipe).get(name)) or 0 for name in _DROPOUTS), default=0) >= 1


def _has_no_dims(recipe: Recipe) -> bool:
    given = [_arguments(recipe).get(name) for name in ("block_dims", "conv_block_dims")]
    lists = [text.split(",") for text in given if text]
    return bool(lists) and given[0] is not None and all(_number(part) == 0 for parts in lists for part in parts)


def _loss_is_zero(recipe: Recipe) -> bool:
    schedule = recipe.get("huber_schedule")
    width, scale = recipe.number("huber_c"), recipe.number("huber_scale")
    is_none = (schedule == "constant" and 0 in {width, scale}) or (schedule == "exponential" and scale == 0)
    return recipe.get("loss_type") in _HUBER and is_none


def _scale(recipe: Recipe) -> float | None:
    dim, alpha = recipe.number("network_dim"), recipe.number("network_alpha")
    if not dim or not alpha or is_set(recipe, "dim_from_weights") or lycoris.algorithm(recipe) == "lokr":
        return None  # a LoKr's dim is no rank where the larger matrix is whole
    return alpha / dim


def _offset_is_cancelled(recipe: Recipe) -> bool:
    offset, scale = recipe.number("noise_offset") or 0, recipe.number("adaptive_noise_scale") or 0
    return offset > 0 and offset + scale * _USUAL_MEAN <= 0


def _timesteps(recipe: Recipe) -> float:
    first, last = recipe.number("min_timestep"), recipe.number("max_timestep")
    return (_TIMESTEPS if last is None else last) - (first or 0)


def _is_between(value: float | None, upper: float) -> bool:
    return value is not None and 0 < value < upper


CONFLICTS = (
    Rule(
        ("network_dropout",),
        lambda recipe: recipe.number("network_dropout") == 1,
        "network_dropout=1 leaves the whole network out of every step, so nothing is trained",
        ways("network_dropout=0.1"),
        NETWORK_KINDS,
    ),
    Rule(
        ("network_args",),
        _drops_everything,
        "a dropout of 1 in network_args leaves the whole network out of every step, so nothing is trained",
        "write 0.1 in its place, such as module_dropout=0.1",
        NETWORK_KINDS,
    ),
    Rule(
        ("network_args",),
        _has_no_dims,
        "block_dims is 0 for every block, which leaves nothing to train",
        "give the blocks that are to be trained a dim",
        NETWORK_KINDS,
    ),
    Rule(
        ("huber_c", "huber_scale", "huber_schedule", "loss_type"),
        _loss_is_zero,
        "with huber_c or huber_scale at 0 the loss is 0 in every step, and nothing is trained",
        ways(("huber_c=0.1", "huber_scale=1")),
    ),
    Rule(
        ("validation_split",),
        lambda recipe: recipe.number("validation_split") == 1,
        "validation_split=1 keeps every picture for validation and leaves none to train on",
        ways("validation_split=0.1"),
        NETWORK_KINDS,
    ),
    Rule(
        ("torch_compile",),
        sets("torch_compile"),
        "with torch_compile sd-scripts saves the U-Net under other names (_orig_mod), which no image program reads",
        ways("torch_compile=false", advice="torch_compile works for LoRA, LoCon, LoHa and LoKr"),
        _FULL,
    ),
)

WARNINGS = (
    Rule(
        ("network_alpha",),
        lambda recipe: recipe.number("network_alpha") == 0,
        "network_alpha 0 means network_dim: nothing is scaled down",
        ways("network_alpha=16", advice="or half of network_dim"),
        NETWORK_KINDS,
    ),
    Rule(
        ("network_alpha", "network_dim"),
        lambda recipe: _is_between(_scale(recipe), _LITTLE_SCALE),
        "network_alpha is less than a 256th of network_dim: what is learned is scaled down to almost nothing",
        "set it to half of network_dim",
        NETWORK_KINDS,
    ),
    Rule(
        ("scale_weight_norms",),
        lambda recipe: _is_between(recipe.number("scale_weight_norms"), _LITTLE_NORM),
        f"scale_weight_norms below {_LITTLE_NORM} holds every layer's change close to nothing",
        ways("scale_weight_norms=1"),
        NETWORK_KINDS,
    ),
    Rule(
        ("scale_weight_norms", "network_module"),
        lambda recipe: is_set(recipe, "scale_weight_norms") and recipe.get("network_module") in lycoris.NATIVE,
        "scale_weight_norms does nothing with networks.loha and networks.lokr",
        ways("scale_weight_norms=null"),
        NETWORK_KINDS,
    ),
    Rule(
        ("network_dim", "network_alpha", "network_dropout", "dim_from_weights"),
        lambda recipe: (
            is_set(recipe, "dim_from_weights") and any(recipe.get(option) is not None for option in _FROM_FILE)
        ),
        "dim_from_weights takes dim and alpha from the file: network_dim, network_alpha and network_dropout do nothing",
        ways(tuple(f"{option}=null" for option in _FROM_FILE)),
        NETWORK_KINDS,
    ),
    Rule(
        ("network_args", "dim_from_weights"),
        lambda recipe: (
            is_set(recipe, "dim_from_weights") and not _arguments(recipe).keys() <= network_arguments.KEPT_WITH_WEIGHTS
        ),
        "dim_from_weights takes the network from the file: of network_args only ..._lr_weight counts",
        ways("dim_from_weights=false", advice="or take the others out of network_args"),
        NETWORK_KINDS,
    ),
    Rule(
        ("unet_lr", "network_train_text_encoder_only"),
        lambda recipe: recipe.get("unet_lr") is not None and is_set(recipe, "network_train_text_encoder_only"),
        "unet_lr does nothing while network_train_text_encoder_only is on",
        ways("unet_lr=null"),
        NETWORK_KINDS,
    ),
    Rule(
        ("caption_dropout_rate",),
        lambda recipe: recipe.number("caption_dropout_rate") == 1,
        "caption_dropout_rate=1 drops every caption: no word is learned, not even the trigger",
        ways("caption_dropout_rate=0.1"),
    ),
    Rule(
        ("caption_dropout_every_n_epochs",),
        lambda recipe: recipe.number("caption_dropout_every_n_epochs") == 1,
        "caption_dropout_every_n_epochs=1 drops every caption in every epoch: no word is learned",
        ways("caption_dropout_every_n_epochs=null"),
    ),
    Rule(
        ("caption_tag_dropout_rate",),
        lambda recipe: recipe.number("caption_tag_dropout_rate") == 1,
        "caption_tag_dropout_rate=1 drops every tag but those of keep_tokens",
        ways("caption_tag_dropout_rate=0.1"),
    ),
    Rule(
        ("min_timestep", "max_timestep"),
        lambda recipe: 0 < _timesteps(recipe) < _FEW_TIMESTEPS,
        f"fewer than {_FEW_TIMESTEPS} of the {_TIMESTEPS} timesteps are trained",
        ways(("min_timestep=null", "max_timestep=null")),
    ),
    Rule(
        ("noise_offset",),
        lambda recipe: abs(recipe.number("noise_offset") or 0) > _MUCH_NOISE,
        f"a noise_offset beyond {_MUCH_NOISE} spoils colours and contrast; usual is 0.0357 to 0.1",
        ways("noise_offset=0.0357"),
    ),
    Rule(
        ("adaptive_noise_scale", "noise_offset"),
        _offset_is_cancelled,
        "such an adaptive_noise_scale takes the whole noise_offset away from most pictures",
        ways("adaptive_noise_scale=null"),
    ),
    Rule(
        ("ip_noise_gamma",),
        lambda recipe: (recipe.number("ip_noise_gamma") or 0) > _MUCH_PERTURBATION,
        f"an ip_noise_gamma above {_MUCH_PERTURBATION} drowns the pictures in noise; usual is 0.1",
        ways("ip_noise_gamma=0.1"),
    ),
    Rule(
        ("min_snr_gamma",),
        lambda recipe: _is_between(recipe.number("min_snr_gamma"), _LITTLE_GAMMA),
        "such a min_snr_gamma leaves next to nothing of the loss; usual is 5",
        ways("min_snr_gamma=5"),
    ),
    Rule(
        ("huber_scale", "huber_schedule", "loss_type"),
        lambda recipe: (
            recipe.get("loss_type") in _HUBER
            and recipe.number("huber_scale") not in {None, 1}
            and recipe.get("huber_schedule") in {None, "snr"}
        ),
        "huber_scale does nothing with the huber_schedule snr",
        ways("huber_schedule=constant", "huber_scale=null"),
    ),
    Rule(
        ("prior_loss_weight",),
        lambda recipe: recipe.number("prior_loss_weight") == 0,
        "with prior_loss_weight 0 regularization pictures take half of the steps and teach nothing",
        ways("prior_loss_weight=1"),
        NETWORK_KINDS,
    ),
    Rule(
        ("full_bf16", "fused_backward_pass"),
        lacks("full_bf16", "fused_backward_pass"),
        "full_bf16 rounds most changes of a small rate away: only fused_backward_pass rounds them at random, so that"
        " they add up",
        ways("full_bf16=false", ("fused_backward_pass=true", "optimizer_type=Adafactor")),
        _FULL,
    ),
    Rule(
        ("cache_info",),
        sets("cache_info"),
        "cache_info keeps captions and sizes in metadata_cache.json beside the pictures: a later run takes them from"
        " there, whatever has changed",
        ways("cache_info=false"),
    ),
)
