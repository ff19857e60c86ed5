"""Options that stop a run late, or turn it into a different one: a table based on sd-scripts v0.10.1.

The sources are verify_training_args, get_optimizer, get_scheduler_fix and the datasets in library/train_util.py,
sdxl_train.py, sdxl_train_network.py with train_network.py, and networks/lora.py.
"""

from __future__ import annotations

from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.rules.rule import NETWORK_KINDS, Rule, RuleHint, is_set, lacks, sets, ways
from sdxl_train_cli.sdscripts import lycoris, shipped
from sdxl_train_cli.sdscripts.buckets import (
    bucket_is_larger_than_resolution,
    bucket_is_nothing,
    bucket_is_smaller_than_resolution,
    sides,
    sides_do_not_divide,
)
from sdxl_train_cli.sdscripts.optimizer import (
    SCHEDULERS,
    chooses_own_rate,
    optimizer,
    schedule,
    unknown_optimizer,
    warmup_is_refused,
)

_CACHES_CAPTIONS = ("cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk")
_CACHES_PICTURES = ("cache_latents", "cache_latents_to_disk")
_LATENTS_OFF = ("cache_latents=null", "cache_latents_to_disk=null")
_CACHE_OFF = ("cache_text_encoder_outputs=null", "cache_text_encoder_outputs_to_disk=null")
_PLAIN_LORA = ("network_module=networks.lora", "network_args=null")
_PLAIN_LOCON = ("network_module=networks.lora", "network_args=conv_dim=32 conv_alpha=16")
_FULL = (Kind.DREAMBOOTH,)
_OWN_KINDS = {"loha": Kind.LOHA, "lokr": Kind.LOKR}

_STEP = 64
_BEFORE_EXCHANGE = "steps before the GPUs have exchanged gradients, so that each would train a model of its own"


def _smaller_bucket(recipe: Recipe) -> RuleHint:
    """Keep the resolution: buckets may be half as narrow as its shorter side."""
    step = int(recipe.number("bucket_reso_steps") or _STEP)
    shorter = min(sides(recipe) or (0,))
    least = max(step, shorter // 2 // step * step)
    return ways(*([f"min_bucket_reso={least}"] if least <= shorter else []), "resolution=1024")


# The first four are refused after the pictures have been read; the others silently have no effect.
_NOT_WITH_CACHED_CAPTIONS = (
    ("shuffle_caption", "captions are encoded once, so shuffle_caption can't be used"),
    ("caption_dropout_rate", "captions are encoded once, so caption_dropout_rate can't be used"),
    ("caption_tag_dropout_rate", "captions are encoded once, so caption_tag_dropout_rate can't be used"),
    ("token_warmup_step", "captions are encoded once, so token_warmup_step can't be used"),
    ("caption_dropout_every_n_epochs", "caption_dropout_every_n_epochs does nothing while captions are encoded once"),
    ("caption_prefix", "caption_prefix is not added to captions that are encoded once"),
    ("caption_suffix", "caption_suffix is not added to captions that are encoded once"),
    ("keep_tokens_separator", "keep_tokens_separator stays as plain text in captions that are encoded once"),
    ("secondary_separator", "secondary_separator stays as plain text in captions that are encoded once"),
    ("enable_wildcard", "{a|b} stays as plain text in captions that are encoded once"),
)


def _caches_captions(recipe: Recipe) -> bool:
    return is_set(recipe, *_CACHES_CAPTIONS)


def _caption_rule(option: str, message: str) -> Rule:
    return Rule(
        (option, *_CACHES_CAPTIONS),
        lambda recipe: is_set(recipe, option) and _caches_captions(recipe),
        message + " (cache_text_encoder_outputs)",
        ways(f"{option}=null", _CACHE_OFF),
    )


def _precision_is_not(precision: str) -> Rule:
    option = f"full_{precision}"
    return Rule(
        (option, "mixed_precision"),
        lambda recipe: is_set(recipe, option) and recipe.get("mixed_precision") != precision,
        f"{option} needs mixed_precision {precision}",
        ways(f"mixed_precision={precision}", f"{option}=null"),
    )


def _timesteps_are_reversed(recipe: Recipe) -> bool:
    first, last = recipe.number("min_timestep"), recipe.number("max_timestep")
    return (0 if first is None else first) >= (1000 if last is None else last)


def _module(recipe: Recipe) -> str:
    return str(recipe.get("network_module") or "")


def _is_not_a_lora(recipe: Recipe) -> bool:
    if lycoris.algorithm(recipe) in _OWN_KINDS:
        return False
    if _module(recipe) == lycoris.MODULE:
        return lycoris.reaches_convolutions(recipe)
    return not {"conv_dim", "conv_block_dims"}.isdisjoint(recipe.arguments("network_args"))


def _is_not_a_locon(recipe: Recipe) -> bool:
    arguments = recipe.arguments("network_args")
    by_block = "conv_block_dims" in arguments and "block_dims" in arguments
    return _module(recipe) == "networks.lora" and "conv_dim" not in arguments and not by_block


def _leaves_convolutions_out(recipe: Recipe) -> bool:
    return lycoris.algorithm(recipe) in lycoris.PLAIN and not lycoris.reaches_convolutions(recipe)


def _steps_are_behind(recipe: Recipe) -> bool:
    first, total = recipe.number("initial_step"), recipe.number("max_train_steps")
    if first is None or first <= 0 or is_set(recipe, "max_train_epochs"):
        return False
    return first >= (total or shipped.default_number("max_train_steps"))


_MODEL = (
    Rule(
        ("network_module",),
        lambda recipe: not _module(recipe),
        "network_module is missing",
        ways("network_module=networks.lora"),
        (Kind.LORA, Kind.LOCON),
    ),
    Rule(
        ("network_args", "network_module"),
        _is_not_a_lora,
        "this trains the convolutions too, which makes it a LoCon",
        ways("network_args=null", _PLAIN_LORA, advice="or train it with a preset of `sdxl-train locon`"),
        (Kind.LORA,),
    ),
    Rule(
        ("network_args", "network_module"),
        _is_not_a_locon,
        "a LoCon needs conv_dim in network_args; without it this trains a plain LoRA",
        ways("network_args=conv_dim=32 conv_alpha=16"),
        (Kind.LOCON,),
    ),
    Rule(
        ("network_args", "network_module"),
        _leaves_convolutions_out,
        "this LyCORIS preset leaves out the convolutions, which makes it a plain LoRA",
        ways("network_args=conv_dim=32 conv_alpha=16", advice="or train it with a preset of `sdxl-train lora`"),
        (Kind.LOCON,),
    ),
    *(
        Rule(
            ("network_args", "network_module"),
            lambda recipe, algo=algo: lycoris.algorithm(recipe) == algo,  # type: ignore[misc]
            f"this trains a {own.label}",
            ways(_PLAIN_LORA, _PLAIN_LOCON, advice=f"or train it with a preset of `sdxl-train {own.value}`"),
            tuple(kind for kind in NETWORK_KINDS if kind is not own),
        )
        for algo, own in _OWN_KINDS.items()
    ),
    *(
        Rule(
            ("network_module", "network_args"),
            lambda recipe: lycoris.algorithm(recipe) not in _OWN_KINDS,
            f"a {own.label} needs the network_module networks.{algo}, or lycoris.kohya with algo={algo}",
            ways(f"network_module=networks.{algo}", (f"network_module=networks.{algo}", "network_args=null")),
            (own,),
        )
        for algo, own in _OWN_KINDS.items()
    ),
    Rule(
        ("network_train_text_encoder_only", "network_train_unet_only"),
        sets("network_train_text_encoder_only", "network_train_unet_only"),
        "network_train_text_encoder_only and network_train_unet_only leave nothing to train",
        ways("network_train_text_encoder_only=false"),
    ),
    Rule(
        ("dim_from_weights", "network_weights"),
        lacks("dim_from_weights", "network_weights"),
        "dim_from_weights needs network_weights",
        ways("dim_from_weights=false"),
    ),
    Rule(
        ("cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk", "network_train_unet_only"),
        lambda recipe: _caches_captions(recipe) and not is_set(recipe, "network_train_unet_only"),
        "text encoders can't be trained while their outputs are cached",
        ways("network_train_unet_only=true", _CACHE_OFF),
        NETWORK_KINDS,
    ),
    Rule(
        ("train_text_encoder", *_CACHES_CAPTIONS),
        lambda recipe: is_set(recipe, "train_text_encoder") and _caches_captions(recipe),
        "text encoders can't be trained while their outputs are cached",
        ways("train_text_encoder=null", _CACHE_OFF),
        _FULL,
    ),
    Rule(
        ("weighted_captions", *_CACHES_CAPTIONS),
        lambda recipe: is_set(recipe, "weighted_captions") and _caches_captions(recipe),
        "weighted_captions can't be used while text encoder outputs are cached",
        ways("weighted_captions=null", _CACHE_OFF),
        _FULL,
    ),
)

_PICTURES = (
    Rule(
        ("resolution",), lambda recipe: not recipe.get("resolution"), "resolution is missing", ways("resolution=1024")
    ),
    Rule(
        ("min_bucket_reso", "bucket_reso_steps", "enable_bucket"),
        bucket_is_nothing,
        "min_bucket_reso is smaller than one step of bucket_reso_steps",
        ways("min_bucket_reso=256", "min_bucket_reso=null"),
    ),
    Rule(
        ("min_bucket_reso", "resolution", "bucket_reso_steps", "enable_bucket"),
        bucket_is_larger_than_resolution,
        "min_bucket_reso is larger than the shorter side of resolution",
        _smaller_bucket,
    ),
    Rule(
        ("max_bucket_reso", "resolution", "bucket_reso_steps", "enable_bucket"),
        bucket_is_smaller_than_resolution,
        "max_bucket_reso (1024 if not set) is smaller than the longer side of resolution",
        ways("max_bucket_reso=2048", "max_bucket_reso=4096", "resolution=1024"),
    ),
    Rule(
        ("bucket_reso_steps", "enable_bucket"),
        lambda recipe: is_set(recipe, "enable_bucket") and (recipe.number("bucket_reso_steps") or 64) % 32 != 0,
        "bucket_reso_steps has to be divisible by 32 for SDXL",
        ways("bucket_reso_steps=64"),
    ),
    Rule(
        ("resolution", "enable_bucket"),
        sides_do_not_divide,
        "without enable_bucket both sides of resolution have to be divisible by 32",
        ways("enable_bucket=true"),
    ),
    *(
        Rule(
            (option, *_CACHES_PICTURES),
            lambda recipe, option=option: is_set(recipe, option) and is_set(recipe, *_CACHES_PICTURES),  # type: ignore[misc]
            f"pictures are encoded once (cache_latents), so {option} can't be used",
            ways(f"{option}=null", _LATENTS_OFF),
        )
        for option in ("color_aug", "random_crop", "train_inpainting")
    ),
    *(_caption_rule(option, message) for option, message in _NOT_WITH_CACHED_CAPTIONS),
)

_PRECISION = (
    _precision_is_not("bf16"),
    _precision_is_not("fp16"),
    Rule(
        ("full_bf16", "full_fp16"),
        sets("full_bf16", "full_fp16"),
        "full_bf16 and full_fp16 can't both be on",
        ways("full_fp16=null", "full_bf16=null"),
    ),
    Rule(
        ("fp8_base", "fp8_base_unet", "mixed_precision"),
        lambda recipe: (
            is_set(recipe, "fp8_base", "fp8_base_unet") and recipe.get("mixed_precision") not in {"bf16", "fp16"}
        ),
        "an fp8 base needs mixed_precision bf16 or fp16",
        ways("mixed_precision=bf16", "mixed_precision=fp16", ("fp8_base=null", "fp8_base_unet=null")),
        NETWORK_KINDS,
    ),
    Rule(
        ("fp8_base",),
        sets("fp8_base"),
        "fp8_base does nothing where the base model itself is trained, and saves no memory",
        ways("fp8_base=null", advice="gradient_checkpointing saves memory"),
        _FULL,
    ),
    Rule(
        ("cpu_offload_checkpointing",),
        sets("cpu_offload_checkpointing"),
        "cpu_offload_checkpointing makes sd-scripts crash with SDXL",
        ways("cpu_offload_checkpointing=null"),
    ),
    Rule(
        ("torch_compile", "xformers"),
        sets("torch_compile", "xformers"),
        "torch_compile does not work with xformers",
        ways(("xformers=false", "sdpa=true")),
    ),
)

_NOISE = (
    Rule(
        ("adaptive_noise_scale", "noise_offset"),
        lambda recipe: recipe.get("adaptive_noise_scale") is not None and recipe.get("noise_offset") is None,
        "adaptive_noise_scale needs noise_offset",
        ways("noise_offset=0.0357"),
    ),
    Rule(
        ("scale_v_pred_loss_like_noise_pred", "v_parameterization"),
        lacks("scale_v_pred_loss_like_noise_pred", "v_parameterization"),
        "scale_v_pred_loss_like_noise_pred is only for v_parameterization",
        ways("scale_v_pred_loss_like_noise_pred=false"),
    ),
    Rule(
        ("v_pred_like_loss", "v_parameterization"),
        sets("v_pred_like_loss", "v_parameterization"),
        "v_pred_like_loss can't be used with v_parameterization",
        ways("v_pred_like_loss=null"),
    ),
    Rule(
        ("min_timestep", "max_timestep"),
        _timesteps_are_reversed,
        "min_timestep has to be smaller than max_timestep",
        ways("min_timestep=null"),
    ),
)

_OPTIMIZER = (
    Rule(
        ("optimizer_type",),
        unknown_optimizer,
        "sd-scripts has no such optimizer_type",
        ways("optimizer_type=AdamW8bit", advice="or Adafactor, Prodigy, Lion; of another package by its full name"),
    ),
    Rule(
        ("use_8bit_adam", "use_lion_optimizer", "optimizer_type"),
        lambda recipe: (
            sum(is_set(recipe, one) for one in ("use_8bit_adam", "use_lion_optimizer", "optimizer_type")) > 1
        ),
        "the optimizer is chosen more than once",
        ways(("use_8bit_adam=null", "use_lion_optimizer=null")),
    ),
    Rule(
        ("fused_backward_pass", "optimizer_type"),
        lambda recipe: is_set(recipe, "fused_backward_pass") and optimizer(recipe) != "adafactor",
        "fused_backward_pass works with the optimizer Adafactor only",
        ways("fused_backward_pass=null", "optimizer_type=Adafactor"),
    ),
    Rule(
        ("fused_backward_pass", "gradient_accumulation_steps"),
        lambda recipe: (
            is_set(recipe, "fused_backward_pass") and (recipe.number("gradient_accumulation_steps") or 1) > 1
        ),
        "fused_backward_pass can't accumulate gradients",
        ways("gradient_accumulation_steps=1"),
    ),
    Rule(
        ("fused_backward_pass",),
        lambda recipe: recipe.processes > 1 and is_set(recipe, "fused_backward_pass"),
        f"fused_backward_pass {_BEFORE_EXCHANGE}",
        ways("fused_backward_pass=null", advice="or train on one GPU"),
        kinds=_FULL,
    ),
    Rule(
        ("fused_optimizer_groups",),
        lambda recipe: recipe.processes > 1 and is_set(recipe, "fused_optimizer_groups"),
        f"fused_optimizer_groups {_BEFORE_EXCHANGE}",
        ways("fused_optimizer_groups=null", advice="or train on one GPU"),
        kinds=_FULL,
    ),
    Rule(
        ("lr_scheduler_type",),
        lambda recipe: recipe.processes > 1 and is_set(recipe, "lr_scheduler_type"),
        "accelerate steps a schedule once for each GPU, which those of lr_scheduler_type don't reckon with",
        ways("lr_scheduler_type=null", advice="or train on one GPU"),
    ),
    Rule(
        ("lr_scheduler", "lr_scheduler_args"),
        lambda recipe: recipe.processes > 1 and schedule(recipe) == "piecewise_constant",
        "accelerate steps a schedule once for each GPU, so that those in lr_scheduler_args would come too early",
        ways(("lr_scheduler=cosine", "lr_scheduler_args=null"), advice="or train on one GPU"),
    ),
    Rule(
        ("deepspeed",),
        lambda recipe: recipe.processes > 1 and is_set(recipe, "deepspeed"),
        "with deepspeed sd-scripts saves states in another way, which sdxl-train can't resume, and needs its launcher",
        ways("deepspeed=null"),
    ),
    Rule(
        ("fused_optimizer_groups", "fused_backward_pass"),
        sets("fused_optimizer_groups", "fused_backward_pass"),
        "fused_optimizer_groups together with fused_backward_pass would train the first group only",
        ways("fused_optimizer_groups=null"),
    ),
    Rule(
        ("fused_optimizer_groups", "gradient_accumulation_steps"),
        lambda recipe: (
            is_set(recipe, "fused_optimizer_groups") and (recipe.number("gradient_accumulation_steps") or 1) > 1
        ),
        "fused_optimizer_groups can't accumulate gradients",
        ways("gradient_accumulation_steps=1"),
    ),
    Rule(
        ("lr_scheduler",),
        lambda recipe: not recipe.get("lr_scheduler_type") and schedule(recipe).split(":")[0] not in SCHEDULERS,
        "sd-scripts has no such lr_scheduler",
        ways("lr_scheduler=cosine", advice="all: " + ", ".join(SCHEDULERS)),
    ),
    Rule(
        ("lr_warmup_steps", "lr_scheduler", "lr_scheduler_type", "optimizer_type", "optimizer_args"),
        warmup_is_refused,
        "lr_warmup_steps can't be used with this schedule, which has no warm-up"
        " (Adafactor brings its own unless optimizer_args has relative_step=False)",
        ways("lr_warmup_steps=0"),
    ),
    Rule(
        ("lr_scheduler", "optimizer_type"),
        lambda recipe: schedule(recipe).startswith("adafactor") and optimizer(recipe) != "adafactor",
        "the schedule adafactor is for the optimizer Adafactor",
        ways("lr_scheduler=cosine"),
    ),
    Rule(
        ("lr_scheduler", "optimizer_type", "optimizer_args"),
        lambda recipe: (
            schedule(recipe) == "adafactor" and optimizer(recipe) == "adafactor" and not chooses_own_rate(recipe)
        ),
        "with relative_step=False the schedule adafactor has no rate to start from",
        ways("lr_scheduler=constant_with_warmup"),
    ),
    Rule(
        ("lr_scheduler", "lr_scheduler_min_lr_ratio", "lr_scheduler_args"),
        lambda recipe: (
            schedule(recipe) == "cosine_with_min_lr"
            and recipe.get("lr_scheduler_min_lr_ratio") is None
            and not {"min_lr", "min_lr_rate"} & recipe.arguments("lr_scheduler_args").keys()
        ),
        "the schedule cosine_with_min_lr needs lr_scheduler_min_lr_ratio",
        ways("lr_scheduler_min_lr_ratio=0.1"),
    ),
    Rule(
        ("lr_scheduler", "lr_scheduler_args"),
        lambda recipe: (
            schedule(recipe) == "piecewise_constant" and "step_rules" not in recipe.arguments("lr_scheduler_args")
        ),
        "the schedule piecewise_constant needs step_rules in lr_scheduler_args",
        ways("lr_scheduler=constant", advice='or say when the rate changes, such as step_rules="1:1000,0.1"'),
    ),
)

_COURSE = (
    *(
        Rule(
            (option, "sample_prompts"),
            lacks(option, "sample_prompts"),
            f"{option} needs sample_prompts, a .txt, .toml or .json file; without it the run dies at the first sample",
            ways(f"{option}=null", advice="or write prompts into a file, one a line, and name it with sample_prompts"),
        )
        for option in ("sample_every_n_steps", "sample_every_n_epochs", "sample_at_first")
    ),
    Rule(
        ("persistent_data_loader_workers", "max_data_loader_n_workers"),
        lambda recipe: (
            is_set(recipe, "persistent_data_loader_workers") and recipe.number("max_data_loader_n_workers") == 0
        ),
        "persistent_data_loader_workers needs at least one worker",
        ways("persistent_data_loader_workers=null", "max_data_loader_n_workers=2"),
    ),
    Rule(
        ("initial_step", "max_train_steps", "max_train_epochs"),
        _steps_are_behind,
        "max_train_steps counts from the very beginning and has to be larger than initial_step",
        ways("initial_step=null", advice="or raise max_train_steps to the total"),
    ),
    Rule(
        ("save_state_to_huggingface", "huggingface_repo_id"),
        lacks("save_state_to_huggingface", "huggingface_repo_id"),
        "save_state_to_huggingface needs huggingface_repo_id",
        ways("save_state_to_huggingface=false"),
    ),
)

CONFLICTS = (*_MODEL, *_PICTURES, *_PRECISION, *_NOISE, *_OPTIMIZER, *_COURSE)
