"""Options that sd-scripts accepts with little or surprising effect: a table based on v0.10.1."""

from __future__ import annotations

from collections.abc import Callable

from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.rules.rule import NETWORK_KINDS, Rule, is_set, lacks, sets, ways
from sdxl_train_cli.sdscripts import lycoris, shipped
from sdxl_train_cli.sdscripts.attention import ATTENTIONS
from sdxl_train_cli.sdscripts.buckets import is_small
from sdxl_train_cli.sdscripts.network_arguments import DEFAULT_DIM
from sdxl_train_cli.sdscripts.optimizer import chooses_own_rate, is_schedule_free, optimizer, sets_own_rate

_FULL = (Kind.DREAMBOOTH,)
_LARGEST_FP16 = 65_504
_LARGEST_LOHA = 32
"""Largest dim that LyCORIS' authors recommend."""
_HIGH_RATE = 0.1  # sd-scripts itself warns below it for optimizers that adapt their rate

# Options that do nothing unless one of the others is set.
_IDLE_WITHOUT: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("noise_offset_random_strength", ("noise_offset",)),
    ("ip_noise_gamma_random_strength", ("ip_noise_gamma",)),
    ("multires_noise_discount", ("multires_noise_iterations",)),
    ("dynamo_backend", ("torch_compile",)),
    ("keep_tokens", ("shuffle_caption", "caption_tag_dropout_rate", "token_warmup_step")),
    ("token_warmup_min", ("token_warmup_step",)),
    ("learning_rate_te1", ("train_text_encoder",)),
    ("learning_rate_te2", ("train_text_encoder",)),
    ("save_last_n_steps", ("save_every_n_steps",)),
    ("save_last_n_epochs", ("save_every_n_epochs", "save_n_epoch_ratio")),
    ("save_last_n_steps_state", ("save_state",)),
    ("save_last_n_epochs_state", ("save_state",)),
    ("sample_prompts", ("sample_every_n_steps", "sample_every_n_epochs", "sample_at_first")),
    ("validate_every_n_steps", ("validation_split",)),
    ("validate_every_n_epochs", ("validation_split",)),
    ("max_validation_steps", ("validation_split",)),
    ("base_weights_multiplier", ("base_weights",)),
    ("skip_until_initial_step", ("resume", "initial_step", "initial_epoch")),
    ("resume_from_huggingface", ("resume",)),
    ("zero_stage", ("deepspeed",)),
    ("offload_optimizer_device", ("deepspeed",)),
    ("offload_param_device", ("deepspeed",)),
    ("vae_batch_size", ("cache_latents", "cache_latents_to_disk")),
    ("skip_cache_check", ("cache_latents_to_disk", "cache_text_encoder_outputs_to_disk")),
    ("validation_seed", ("validation_split",)),
    ("bucket_no_upscale", ("enable_bucket",)),
    ("caption_separator", ("shuffle_caption", "caption_tag_dropout_rate", "token_warmup_step", "secondary_separator")),
    ("keep_tokens_separator", ("shuffle_caption", "caption_tag_dropout_rate", "token_warmup_step")),
    ("wandb_run_name", ("log_with",)),
    ("huggingface_path_in_repo", ("huggingface_repo_id",)),
    ("huggingface_repo_type", ("huggingface_repo_id",)),
    ("huggingface_repo_visibility", ("huggingface_repo_id",)),
    ("async_upload", ("huggingface_repo_id",)),
)

_COMPLETED_BY = {"sample_prompts": ("sample_every_n_steps=250",)}
"""What makes such an option do what it was set for, where any value will do to begin with."""


def _attentions(recipe: Recipe) -> int:
    return sum(is_set(recipe, option) for option in ATTENTIONS)


def _rate(recipe: Recipe) -> float | None:
    own = recipe.number("unet_lr") if recipe.kind in NETWORK_KINDS else None
    return recipe.number("learning_rate") if own is None else own


def _warmup_outlasts_run(recipe: Recipe) -> bool:
    try:
        warmup = float(str(recipe.get("lr_warmup_steps") or 0))
    except ValueError:
        return False
    steps = recipe.number("max_train_steps")
    return warmup >= 1 and steps is not None and not is_set(recipe, "max_train_epochs") and warmup >= steps


def _arguments(recipe: Recipe) -> dict[str, str]:
    return recipe.arguments("network_args")


def _alpha_exceeds_dim(recipe: Recipe) -> bool:
    dim, alpha = recipe.number("network_dim"), recipe.number("network_alpha")
    return dim is not None and alpha is not None and alpha > dim


def _many_text_encoder_rates(recipe: Recipe) -> bool:
    rates = recipe.get("text_encoder_lr")
    takes_one = recipe.get("network_module") in {"networks.lora", lycoris.MODULE}
    return isinstance(rates, tuple) and len(rates) > 1 and takes_one


def _is_multiplied(recipe: Recipe) -> bool:
    return lycoris.algorithm(recipe) in lycoris.NATIVE.values()


def _takes_dim_for_convolutions(recipe: Recipe) -> bool:
    leaves_it_open = recipe.get("network_module") == lycoris.MODULE and "conv_dim" not in _arguments(recipe)
    return leaves_it_open and "conv" in (lycoris.reached_parts(_arguments(recipe)) or ())


def _left_out(option: str, more: str = "") -> Callable[[], str]:
    return lambda: f"{option} is not set: sd-scripts uses {shipped.default_number(option)}{more}"


_MODEL = (
    Rule(
        ("network_dim", "network_module", "dim_from_weights"),
        lambda recipe: recipe.get("network_dim") is None and not is_set(recipe, "dim_from_weights"),
        f"network_dim is not set: sd-scripts uses {DEFAULT_DIM}",
        ways("network_dim=32"),
        NETWORK_KINDS,
    ),
    Rule(
        ("network_alpha", "network_dim", "dim_from_weights"),
        lambda recipe: recipe.get("network_alpha") is None and not is_set(recipe, "dim_from_weights"),
        _left_out("network_alpha", ", which makes the steps small"),
        ways("network_alpha=16", advice="half of network_dim is usual"),
        NETWORK_KINDS,
    ),
    Rule(
        ("network_alpha", "network_dim"),
        _alpha_exceeds_dim,
        "network_alpha is larger than network_dim, which scales up what is learned",
        "set it to network_dim or to half of it",
        NETWORK_KINDS,
    ),
    Rule(
        ("network_args", "network_module"),
        lambda recipe: (
            recipe.get("network_module") in {"networks.lora", *lycoris.NATIVE}
            and "conv_dim" in _arguments(recipe)
            and "conv_alpha" not in _arguments(recipe)
        ),
        "conv_alpha is missing from network_args: sd-scripts uses 1, which makes the steps small",
        "add conv_alpha=16, or half of conv_dim",
        NETWORK_KINDS,
    ),
    Rule(
        ("network_args",),
        lambda recipe: (
            not {"block_dims", "down_lr_weight", "mid_lr_weight", "up_lr_weight"} & _arguments(recipe).keys()
            and bool({"block_alphas", "conv_block_dims", "conv_block_alphas"} & _arguments(recipe).keys())
        ),
        "block_alphas, conv_block_dims and conv_block_alphas are ignored without block_dims",
        "add block_dims to network_args",
        NETWORK_KINDS,
    ),
    Rule(
        ("network_args", "network_module"),
        _takes_dim_for_convolutions,
        "conv_dim is missing from network_args: LyCORIS uses network_dim for the convolutions too",
        "add conv_dim=8 and conv_alpha=4 to network_args, or preset=attn-mlp to leave the convolutions as they are",
        NETWORK_KINDS,
    ),
    Rule(
        ("network_dim", "save_precision"),
        lambda recipe: (
            lycoris.algorithm(recipe) == "lokr"
            and recipe.get("save_precision") == "fp16"
            and (recipe.number("network_dim") or 0) > _LARGEST_FP16
        ),
        "a LoKr's alpha is its dim where a layer is whole, and fp16 has no number above 65504: it is saved as infinite",
        ways("network_dim=10000", advice="that keeps the layers whole too"),
        NETWORK_KINDS,
    ),
    Rule(
        ("network_dropout", "network_args"),
        lambda recipe: _is_multiplied(recipe) and is_set(recipe, "network_dropout"),
        "network_dropout does nothing for a LoHa or LoKr",
        "put rank_dropout=0.1 or module_dropout=0.1 into network_args",
        NETWORK_KINDS,
    ),
    Rule(
        ("network_args", "network_module"),
        lambda recipe: (
            recipe.get("network_module") == lycoris.MODULE
            and _is_multiplied(recipe)
            and any(key.startswith("loraplus_") for key in _arguments(recipe))
        ),
        "LyCORIS gives a LoHa or LoKr one rate, whatever loraplus_... says",
        "take loraplus_... out of network_args",
        NETWORK_KINDS,
    ),
    Rule(
        ("network_dim",),
        lambda recipe: lycoris.algorithm(recipe) == "loha" and (recipe.number("network_dim") or 0) > _LARGEST_LOHA,
        f"above dim {_LARGEST_LOHA} a LoHa tends to end in NaN",
        ways(f"network_dim={_LARGEST_LOHA}", advice="or lower learning_rate"),
        NETWORK_KINDS,
    ),
    Rule(
        ("network_args", "network_module"),
        lambda recipe: (
            str(recipe.get("network_module") or "").startswith("lycoris.")
            and lycoris.algorithm(recipe) not in {*lycoris.PLAIN, *lycoris.NATIVE.values()}
        ),
        "with this algo the result is not a LoCon",
        None,
        (Kind.LOCON,),
    ),
    Rule(
        ("network_module",),
        lambda recipe: (
            str(recipe.get("network_module") or "networks.lora").startswith("networks.")
            and recipe.get("network_module")
            not in {None, "networks.lora", "networks.lora_fa", "networks.dylora", *lycoris.NATIVE}
        ),
        "with this network_module the result is neither a LoRA nor a LoCon",
        ways("network_module=networks.lora"),
        NETWORK_KINDS,
    ),
    Rule(
        ("text_encoder_lr", "network_module"),
        _many_text_encoder_rates,
        "this network_module uses the first text_encoder_lr for both text encoders",
        "give one value",
        NETWORK_KINDS,
    ),
    Rule(
        ("text_encoder_lr", "network_train_unet_only"),
        sets("text_encoder_lr", "network_train_unet_only"),
        "text_encoder_lr does nothing while network_train_unet_only is on",
        ways("text_encoder_lr=null"),
    ),
    Rule(
        ("alpha_mask", "min_snr_gamma", "masked_loss"),
        lacks(
            "alpha_mask",
            "masked_loss",
            "min_snr_gamma",
            "scale_v_pred_loss_like_noise_pred",
            "v_pred_like_loss",
            "debiased_estimation_loss",
        ),
        "alpha_mask does nothing here without masked_loss",
        ways("masked_loss=true"),
        _FULL,
    ),
)

_MEMORY = (
    Rule(
        ATTENTIONS,
        lambda recipe: _attentions(recipe) == 0,
        "no attention is chosen: the plain one takes far more memory",
        ways("sdpa=true"),
    ),
    Rule(
        ATTENTIONS,
        lambda recipe: _attentions(recipe) > 1,
        "more than one attention is chosen: mem_eff_attn takes precedence over xformers, and xformers over sdpa",
        "keep one of them, such as sdpa",
    ),
    Rule(
        ("diffusers_xformers",),
        sets("diffusers_xformers"),
        "diffusers_xformers leaves the U-Net with plain attention, whatever else is chosen",
        ways("diffusers_xformers=false"),
        _FULL,
    ),
    Rule(
        ("mixed_precision",),
        lambda recipe: recipe.get("mixed_precision") in {None, "no"},
        "mixed_precision is off: everything is computed in fp32, slowly and in twice the memory",
        ways("mixed_precision=bf16"),
    ),
    Rule(
        ("mixed_precision", "no_half_vae"),
        lambda recipe: recipe.get("mixed_precision") == "fp16" and not is_set(recipe, "no_half_vae"),
        "SDXL's VAE gives NaN in fp16",
        ways("no_half_vae=true"),
    ),
    Rule(
        ("lowram", "highvram"),
        sets("lowram", "highvram"),
        "lowram and highvram pull in opposite directions",
        "keep one of them",
    ),
    Rule(
        ("deepspeed",),
        sets("deepspeed"),
        "sd-scripts does not install deepspeed, which needs Linux",
        ways("deepspeed=null"),
    ),
    Rule(
        ("torch_compile",),
        sets("torch_compile"),
        "torch_compile needs triton, which PyTorch brings on Linux; on Windows it is the package triton-windows",
        ways("torch_compile=false"),
    ),
)

_RATE = (
    Rule(
        ("learning_rate", "unet_lr"),
        lambda recipe: _rate(recipe) is None and not chooses_own_rate(recipe) and not recipe.get("block_lr"),
        _left_out("learning_rate"),
        ways("learning_rate=1e-4"),
    ),
    Rule(
        ("learning_rate", "unet_lr", "optimizer_type"),
        lambda recipe: sets_own_rate(recipe) and (_rate(recipe) or 0) <= _HIGH_RATE,
        "this optimizer finds the rate by itself and expects learning_rate 1",
        ways("learning_rate=1"),
    ),
    Rule(
        ("optimizer_type",),
        lambda recipe: optimizer(recipe).startswith("dadapt"),
        "sd-scripts does not install dadaptation",
        ways("optimizer_type=Prodigy"),
    ),
    Rule(
        ("optimizer_args", "optimizer_type", "learning_rate"),
        chooses_own_rate,
        "Adafactor chooses its own rate and schedule unless optimizer_args has relative_step=False",
        ways("optimizer_args=scale_parameter=False relative_step=False warmup_init=False"),
    ),
    Rule(
        ("lr_scheduler", "optimizer_type"),
        lambda recipe: is_schedule_free(recipe) and recipe.get("lr_scheduler") not in {None, "constant"},
        "this optimizer does not accept an lr_scheduler",
        ways(("lr_scheduler=constant", "lr_warmup_steps=0")),
    ),
    Rule(
        ("lr_warmup_steps", "max_train_steps", "max_train_epochs"),
        _warmup_outlasts_run,
        "lr_warmup_steps lasts to the end of the run, so learning_rate is never reached",
        ways("lr_warmup_steps=0.05"),
    ),
)

_MARKED = (None, "safetensors")
_NOISE = (
    Rule(
        ("zero_terminal_snr", "v_parameterization"),
        lacks("zero_terminal_snr", "v_parameterization"),
        "zero_terminal_snr is made for v_parameterization; without it the result is hard to predict",
        ways("zero_terminal_snr=false"),
    ),
    Rule(
        ("noise_offset", "zero_terminal_snr"),
        sets("noise_offset", "zero_terminal_snr"),
        "noise_offset stands in for zero_terminal_snr in models without it; together they teach a wrong brightness",
        ways("noise_offset=null"),
    ),
    Rule(
        ("scale_v_pred_loss_like_noise_pred", "min_snr_gamma"),
        sets("scale_v_pred_loss_like_noise_pred", "min_snr_gamma"),
        "scale_v_pred_loss_like_noise_pred and min_snr_gamma both weigh the timesteps: one is enough",
        ways("scale_v_pred_loss_like_noise_pred=false"),
    ),
    Rule(
        ("save_model_as", "v_parameterization"),
        lambda recipe: is_set(recipe, "v_parameterization") and recipe.get("save_model_as") not in _MARKED,
        "only a .safetensors file can say that it predicts v: image programs take any other for epsilon",
        ways("save_model_as=safetensors"),
        (Kind.DREAMBOOTH,),
    ),
    Rule(
        ("multires_noise_iterations", "noise_offset"),
        sets("multires_noise_iterations", "noise_offset"),
        "noise_offset and multires_noise_iterations both brighten and darken: one is enough",
        ways("noise_offset=null"),
    ),
    Rule(
        ("debiased_estimation_loss", "min_snr_gamma"),
        sets("debiased_estimation_loss", "min_snr_gamma"),
        "debiased_estimation_loss and min_snr_gamma both weigh the timesteps: one is enough",
        ways("min_snr_gamma=null"),
    ),
    *(
        Rule(
            (option, "loss_type"),
            lambda recipe, option=option: (
                recipe.get(option) is not None  # type: ignore[misc]
                and recipe.get("loss_type") not in {"huber", "smooth_l1"}
            ),
            f"{option} does nothing unless loss_type is huber or smooth_l1",
            ways("loss_type=huber", f"{option}=null"),
        )
        for option in ("huber_schedule", "huber_c", "huber_scale")
    ),
)

_COURSE = (
    Rule(
        ("max_train_steps", "max_train_epochs"),
        sets("max_train_epochs", "max_train_steps"),
        "max_train_epochs is set, so max_train_steps does nothing",
        ways("max_train_steps=null"),
    ),
    Rule(
        ("sample_every_n_steps", "sample_every_n_epochs"),
        sets("sample_every_n_steps", "sample_every_n_epochs"),
        "sample_every_n_epochs is set, so sample_every_n_steps does nothing",
        ways("sample_every_n_steps=null"),
    ),
    Rule(
        ("resolution",),
        is_small,
        "resolution is far below the 1024 that SDXL was made for",
        ways("resolution=1024"),
    ),
    Rule(
        ("cache_text_encoder_outputs_to_disk",),
        sets("cache_text_encoder_outputs_to_disk"),
        "the cache on disk does not notice captions that change later",
        "delete the *_te_outputs.npz files after editing captions",
    ),
    Rule(
        ("resume",),
        sets("resume"),
        "a resumed full training counts its steps and epochs from zero again",
        "lower max_train_steps to what is left; `sdxl-train runs resume RUN` counts on by itself",
        _FULL,
    ),
    Rule(
        ("resume",),
        sets("resume"),
        "a resumed training of an embedding counts its steps and epochs from zero again",
        ways("resume=null", advice="its small file is enough to go on from: the option weights names it"),
        (Kind.EMBEDDING,),
    ),
    Rule(
        ("resume", "skip_until_initial_step"),
        lacks("resume", "skip_until_initial_step"),
        "a resumed run counts its steps from zero again unless skip_until_initial_step is on",
        ways("skip_until_initial_step=true"),
        NETWORK_KINDS,
    ),
    Rule(
        ("huggingface_repo_id", "huggingface_path_in_repo"),
        lacks("huggingface_repo_id", "huggingface_path_in_repo"),
        "without huggingface_path_in_repo every upload fails, and the run goes on without it",
        ways("huggingface_path_in_repo=lora", "huggingface_repo_id=null"),
    ),
    Rule(
        ("save_model_as", "use_safetensors"),
        lambda recipe: not is_set(recipe, "save_model_as", "use_safetensors"),
        "save_model_as is not set: the result may be a .ckpt",
        ways("save_model_as=safetensors"),
        _FULL,
    ),
    *(
        Rule(
            (option, *needed),
            lacks(option, *needed),
            f"{option} does nothing without {' or '.join(needed)}",
            ways(*_COMPLETED_BY.get(option, ()), f"{option}=null"),
        )
        for option, needed in _IDLE_WITHOUT
    ),
)

TRAPS = (*_MODEL, *_MEMORY, *_RATE, *_NOISE, *_COURSE)
