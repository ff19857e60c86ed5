"""Rules: each speaks where it should, and is silent once the recipe is mended."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
import silent_cases

from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.recipe import Kind, Recipe, Setting
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.rules import rules, value_rules
from sdxl_train_cli.sdscripts import options, shipped

TABLE = shipped.table()
NAMES = {
    Kind.LORA: "dim32",
    Kind.LOCON: "dim64-conv32",
    Kind.LOHA: "dim16",
    Kind.LOKR: "factor8",
    Kind.DREAMBOOTH: "full",
}
ALL_OPTIONS = {option for kind in Kind for option in TABLE.of(kind)}

Changes = dict[str, str | None]
Case = tuple[Kind, Changes, str, Changes]

LORA, LOCON, LOHA, LOKR, FULL = Kind
UNCACHED: Changes = {"cache_text_encoder_outputs": "false"}


def changed(kind: Kind, *changes: Changes) -> Recipe:
    recipe = presets.load(kind, NAMES[kind])
    for change in changes:
        recipe = recipe.replaced(
            {
                name: None if value is None else Setting(value=value, origin=f"--set {name}")
                for name, value in change.items()
            }
        )
    return recipe


def words(found: Iterable[Problem]) -> list[str]:
    return [problem.message for problem in found]


def warned(recipe: Recipe) -> list[str]:
    return words(rules.warnings(rules.require(recipe, TABLE)))


# What is set, a part of the sentence that follows, and what mends it.
REFUSED: list[Case] = [
    (LORA, {"network_module": None}, "network_module is missing", {"network_module": "networks.lora"}),
    (LORA, {"network_args": "conv_dim=8 conv_alpha=4"}, "makes it a LoCon", {"network_args": None}),
    (LORA, {"network_module": "lycoris.kohya"}, "makes it a LoCon", {"network_module": "networks.lora"}),
    (LOCON, {"network_args": "rank_dropout=0.1"}, "a plain LoRA", {"network_args": "conv_dim=8 conv_alpha=4"}),
    (
        LORA,
        {"network_module": "lycoris.kohya"},
        "makes it a LoCon",
        {"network_args": "preset=attn-mlp"},
    ),
    (
        LOCON,
        {"network_module": "lycoris.kohya", "network_args": "preset=attn-mlp"},
        "leaves out the convolutions",
        {"network_args": "preset=full"},
    ),
    (LORA, {"network_module": "networks.loha"}, "this trains a LoHa", {"network_module": "networks.lora"}),
    (
        LOCON,
        {"network_module": "lycoris.kohya", "network_args": "algo=LoKr"},
        "this trains a LoKr",
        {"network_args": "algo=locon"},
    ),
    (LOHA, {"network_module": "networks.lora"}, "a LoHa needs", {"network_module": "networks.loha"}),
    (LOHA, {"network_module": None}, "a LoHa needs", {"network_module": "networks.loha"}),
    (
        LOKR,
        {"network_module": "lycoris.kohya"},
        "a LoKr needs",
        {"network_args": "algo=lokr factor=8"},
    ),
    (
        LORA,
        {"network_train_text_encoder_only": "true"},
        "leave nothing to train",
        {"network_train_text_encoder_only": "false"},
    ),
    (LORA, {"learning_rate": "0"}, "a learning rate of 0", {"unet_lr": "1e-4"}),
    (
        LORA,
        {**UNCACHED, "learning_rate": "0", "network_train_unet_only": None},
        "rate of 0",
        {"text_encoder_lr": "1e-5"},
    ),
    (
        FULL,
        {**UNCACHED, "learning_rate": "0", "train_text_encoder": "true"},
        "a learning rate of 0",
        {"learning_rate_te1": "1e-6"},
    ),
    (LORA, {"dim_from_weights": "true"}, "needs network_weights", {"network_weights": "old.safetensors"}),
    (LORA, {"network_train_unet_only": "false"}, "text encoders can't be trained", UNCACHED),
    (FULL, {"train_text_encoder": "true"}, "text encoders can't be trained", UNCACHED),
    (FULL, {"weighted_captions": "true"}, "weighted_captions can't be used", UNCACHED),
    (LORA, {"resolution": None}, "resolution is missing", {"resolution": "1024"}),
    (LORA, {"resolution": "256,1024"}, "min_bucket_reso is larger", {"min_bucket_reso": "256"}),
    (LORA, {"min_bucket_reso": "32"}, "min_bucket_reso is smaller", {"bucket_reso_steps": "32"}),
    (LORA, {"resolution": "1152,896", "max_bucket_reso": None}, "max_bucket_reso (1024", {"max_bucket_reso": "1100"}),
    (LORA, {"bucket_reso_steps": "48"}, "divisible by 32 for SDXL", {"bucket_reso_steps": "32"}),
    (LORA, {"resolution": "1000", "enable_bucket": "false"}, "both sides of resolution", {"enable_bucket": "true"}),
    (LORA, {"color_aug": "true"}, "color_aug can't be used", {"cache_latents": "false"}),
    (LORA, {"random_crop": "true"}, "random_crop can't be used", {"cache_latents": None}),
    (LORA, {"shuffle_caption": "true"}, "shuffle_caption can't be used", UNCACHED),
    (LORA, {"caption_dropout_rate": "0.1"}, "caption_dropout_rate can't be used", UNCACHED),
    (LORA, {"caption_tag_dropout_rate": "0.1"}, "caption_tag_dropout_rate can't be used", UNCACHED),
    (LORA, {"token_warmup_step": "0.5"}, "token_warmup_step can't be used", UNCACHED),
    (LORA, {"caption_dropout_every_n_epochs": "2"}, "caption_dropout_every_n_epochs does nothing", UNCACHED),
    (LORA, {"caption_prefix": "ohwx"}, "caption_prefix is not added", {"caption_prefix": ""}),
    (LORA, {"caption_suffix": "photo"}, "caption_suffix is not added", UNCACHED),
    (FULL, {"keep_tokens_separator": "|||"}, "keep_tokens_separator stays", UNCACHED),
    (FULL, {"secondary_separator": ";;;"}, "secondary_separator stays", UNCACHED),
    (FULL, {"enable_wildcard": "true"}, "{a|b} stays", UNCACHED),
    (LORA, {"full_bf16": "true", "mixed_precision": "fp16"}, "full_bf16 needs", {"mixed_precision": "bf16"}),
    (LORA, {"full_fp16": "true"}, "full_fp16 needs", {"mixed_precision": "fp16"}),
    (LORA, {"full_bf16": "true", "full_fp16": "true"}, "can't both be on", {"full_fp16": "false"}),
    (LORA, {"fp8_base": "true", "mixed_precision": "no"}, "an fp8 base needs", {"mixed_precision": "bf16"}),
    (LORA, {"fp8_base_unet": "true", "mixed_precision": None}, "an fp8 base needs", {"mixed_precision": "fp16"}),
    (FULL, {"fp8_base": "true"}, "fp8_base does nothing", {"fp8_base": None}),
    (LORA, {"cpu_offload_checkpointing": "true"}, "makes sd-scripts crash", {"cpu_offload_checkpointing": None}),
    (LORA, {"torch_compile": "true", "xformers": "true"}, "does not work with xformers", {"xformers": "false"}),
    (LORA, {"adaptive_noise_scale": "0.005"}, "adaptive_noise_scale needs", {"noise_offset": "0"}),
    (LORA, {"scale_v_pred_loss_like_noise_pred": "true"}, "only for v_param", {"v_parameterization": "true"}),
    (
        LORA,
        {"v_pred_like_loss": "1", "v_parameterization": "true"},
        "v_pred_like_loss can't",
        {"v_pred_like_loss": "0"},
    ),
    (LORA, {"min_timestep": "500", "max_timestep": "400"}, "min_timestep has to be smaller", {"max_timestep": None}),
    (LORA, {"min_timestep": "1000"}, "min_timestep has to be smaller", {"min_timestep": "999"}),
    (LORA, {"optimizer_type": "AdamW8bits"}, "has no such optimizer_type", {"optimizer_type": "adamw8bit"}),
    (LORA, {"optimizer_type": "adam"}, "has no such optimizer_type", {"optimizer_type": "Adam"}),
    (LORA, {"optimizer_type": "CAME"}, "has no such optimizer_type", {"optimizer_type": "some.package.CAME"}),
    (LORA, {"use_8bit_adam": "true"}, "chosen more than once", {"optimizer_type": None}),
    (LORA, {"use_lion_optimizer": "true"}, "chosen more than once", {"optimizer_type": ""}),
    (LORA, {"fused_backward_pass": "true"}, "works with the optimizer Adafactor", {"fused_backward_pass": "false"}),
    (
        FULL,
        {"fused_backward_pass": "true", "gradient_accumulation_steps": "2"},
        "fused_backward_pass can't accumulate",
        {"gradient_accumulation_steps": "1"},
    ),
    (
        FULL,
        {"fused_backward_pass": "true", "fused_optimizer_groups": "4"},
        "train the first group only",
        {"fused_optimizer_groups": None},
    ),
    (
        FULL,
        {"fused_optimizer_groups": "4", "gradient_accumulation_steps": "2"},
        "fused_optimizer_groups can't accumulate",
        {"gradient_accumulation_steps": None},
    ),
    (LORA, {"lr_scheduler": "cosin"}, "has no such lr_scheduler", {"lr_scheduler": "cosine"}),
    (LORA, {"lr_scheduler": "reduce_lr_on_plateau"}, "no such lr_scheduler", {"lr_scheduler": "linear"}),
    (LORA, {"lr_scheduler": "constant"}, "lr_warmup_steps can't be used", {"lr_warmup_steps": "0"}),
    (LORA, {"lr_scheduler": None}, "lr_warmup_steps can't be used", {"lr_warmup_steps": None}),
    (LORA, {"lr_scheduler_type": "CosineAnnealingLR"}, "lr_warmup_steps can't", {"lr_warmup_steps": "0.0"}),
    (LORA, {"optimizer_type": "Adafactor"}, "lr_warmup_steps can't", {"optimizer_args": "relative_step=False"}),
    (
        LORA,
        {"lr_scheduler": "adafactor:1e-4", "lr_warmup_steps": "0"},
        "schedule adafactor is for",
        {"lr_scheduler": "constant"},
    ),
    (
        FULL,
        {"lr_scheduler": "adafactor", "lr_warmup_steps": "0"},
        "no rate to start from",
        {"lr_scheduler": "adafactor:1e-5"},
    ),
    (
        LORA,
        {"lr_scheduler": "cosine_with_min_lr"},
        "needs lr_scheduler_min_lr_ratio",
        {"lr_scheduler_min_lr_ratio": "0"},
    ),
    (
        LORA,
        {"lr_scheduler": "piecewise_constant"},
        "needs step_rules",
        {"lr_scheduler_args": "step_rules='1:1000,0.1'"},
    ),
    (LORA, {"sample_every_n_steps": "100"}, "sample_every_n_steps needs sample_prompts", {"sample_prompts": "a.txt"}),
    (LORA, {"sample_every_n_epochs": "1"}, "sample_every_n_epochs needs sample_prompts", {"sample_prompts": "a.toml"}),
    (LORA, {"sample_at_first": "true"}, "sample_at_first needs sample_prompts", {"sample_prompts": "a.json"}),
    (LORA, {"persistent_data_loader_workers": "true"}, "needs at least one worker", {"max_data_loader_n_workers": "1"}),
    (LORA, {"initial_step": "2000"}, "counts from the very beginning", {"max_train_steps": "3000"}),
    (LORA, {"save_state_to_huggingface": "true"}, "needs huggingface_repo_id", {"huggingface_repo_id": "me/mine"}),
]
REFUSED += silent_cases.REFUSED

WARNED: list[Case] = [
    (LORA, {"network_dim": None}, "network_dim is not set", {"network_dim": "16"}),
    (LORA, {"network_alpha": None}, "network_alpha is not set", {"network_alpha": "1"}),
    (LORA, {"network_alpha": "64"}, "network_alpha is larger", {"network_alpha": "32"}),
    (LOCON, {"network_args": "conv_dim=8"}, "conv_alpha is missing", {"network_args": "conv_dim=8 conv_alpha=4"}),
    (
        LORA,
        {"network_args": f"block_alphas={','.join('1' * 23)}"},
        "ignored without block_dims",
        {"network_args": None},
    ),
    (
        LOCON,
        {"network_module": "lycoris.kohya", "network_args": "algo=boft"},
        "not a LoCon",
        {"network_args": "algo=lora"},
    ),
    (
        LOCON,
        {"network_module": "lycoris.kohya", "network_args": "algo=lora"},
        "LyCORIS uses network_dim for the convolutions",
        {"network_args": "conv_dim=8"},
    ),
    (LOHA, {"network_dim": "64"}, "a LoHa tends to end in NaN", {"network_dim": "32"}),
    (LOKR, {"network_dropout": "0.1"}, "network_dropout does nothing", {"network_dropout": "0"}),
    (
        LOKR,
        {"network_module": "lycoris.kohya", "network_args": "algo=lokr loraplus_lr_ratio=4"},
        "one rate, whatever loraplus_",
        {"network_args": "algo=lokr"},
    ),
    (LOKR, {"network_dim": "100000"}, "it is saved as infinite", {"network_dim": "10000"}),
    (LOHA, {"network_args": "conv_dim=8"}, "conv_alpha is missing", {"network_args": "conv_dim=8 conv_alpha=1"}),
    (LOHA, {"network_args": "dora_wd=True"}, "networks.loha knows no 'dora_wd'", {"network_args": None}),
    (
        LOKR,
        {"network_module": "lycoris.kohya", "network_args": "algo=lokr facter=8"},
        "lycoris.kohya knows no 'facter'",
        {"network_args": "algo=lokr factor=8"},
    ),
    (LORA, {"network_module": "networks.oft"}, "neither a LoRA nor a LoCon", {"network_module": "networks.lora_fa"}),
    (LORA, {"text_encoder_lr": "1e-5 2e-5"}, "uses the first text_encoder_lr", {"text_encoder_lr": "1e-5"}),
    (LORA, {"text_encoder_lr": "1e-5"}, "text_encoder_lr does nothing", {**UNCACHED, "network_train_unet_only": None}),
    (FULL, {"alpha_mask": "true", "min_snr_gamma": None}, "alpha_mask does nothing here", {"masked_loss": "true"}),
    (LORA, {"clip_skip": "2"}, "clip_skip does nothing", {"clip_skip": None}),
    (LORA, {"sdpa": "false"}, "no attention is chosen", {"mem_eff_attn": "true"}),
    (LORA, {"mem_eff_attn": "true"}, "more than one attention", {"sdpa": None}),
    (FULL, {"diffusers_xformers": "true"}, "leaves the U-Net with plain", {"diffusers_xformers": "false"}),
    (
        LORA,
        {"fused_backward_pass": "true", "optimizer_type": "Adafactor", "optimizer_args": "relative_step=False"},
        "fused_backward_pass does nothing",
        {"fused_backward_pass": "false"},
    ),
    (LORA, {"mixed_precision": "no"}, "mixed_precision is off", {"mixed_precision": "bf16"}),
    (LORA, {"mixed_precision": "fp16", "no_half_vae": None}, "gives NaN in fp16", {"no_half_vae": "true"}),
    (LORA, {"lowram": "true", "highvram": "true"}, "opposite directions", {"lowram": None}),
    (LORA, {"deepspeed": "true"}, "does not install deepspeed", {"deepspeed": None}),
    (LORA, {"torch_compile": "true"}, "torch_compile needs triton", {"torch_compile": "false"}),
    (LORA, {"learning_rate": None}, "learning_rate is not set", {"unet_lr": "1e-4"}),
    (LORA, {"optimizer_type": "Prodigy", "learning_rate": "0.05"}, "expects learning_rate 1", {"learning_rate": "1"}),
    (
        LORA,
        {"optimizer_type": "prodigyplus.ProdigyPlusScheduleFree", "lr_scheduler": "constant", "learning_rate": "0.05"},
        "expects learning_rate 1",
        {"learning_rate": "1"},
    ),
    (
        LORA,
        {"optimizer_type": "DAdaptAdam", "learning_rate": "1"},
        "does not install dadaptation",
        {"optimizer_type": "Prodigy"},
    ),
    (
        FULL,
        {"optimizer_args": None, "lr_warmup_steps": "0"},
        "Adafactor chooses its own",
        {"optimizer_type": "AdamW8bit"},
    ),
    (
        FULL,
        {"optimizer_args": "relative_step=False warmup_init=True", "lr_warmup_steps": "0"},
        "Adafactor chooses its own",
        {"optimizer_args": "relative_step=False"},
    ),
    (LORA, {"optimizer_type": "AdamWScheduleFree"}, "does not accept an lr_scheduler", {"lr_scheduler": "constant"}),
    (FULL, {"max_train_steps": "100"}, "lr_warmup_steps lasts to the end", {"lr_warmup_steps": "0.1"}),
    (LORA, {"zero_terminal_snr": "true"}, "made for v_parameterization", {"v_parameterization": "true"}),
    (
        LORA,
        {"zero_terminal_snr": "true", "v_parameterization": "true", "noise_offset": "0.1"},
        "together they teach a wrong brightness",
        {"noise_offset": "0"},
    ),
    (
        LORA,
        {"scale_v_pred_loss_like_noise_pred": "true", "v_parameterization": "true"},
        "scale_v_pred_loss_like_noise_pred and min_snr_gamma both weigh",
        {"min_snr_gamma": "0"},
    ),
    (
        FULL,
        {"v_parameterization": "true", "save_model_as": "ckpt"},
        "image programs take any other for epsilon",
        {"save_model_as": "safetensors"},
    ),
    (LORA, {"multires_noise_iterations": "6", "noise_offset": "0.1"}, "both brighten", {"noise_offset": "0"}),
    (LORA, {"debiased_estimation_loss": "true"}, "both weigh the timesteps", {"min_snr_gamma": "0"}),
    (LORA, {"huber_c": "0.1"}, "huber_c does nothing", {"loss_type": "huber"}),
    (LORA, {"huber_schedule": "snr"}, "huber_schedule does nothing", {"loss_type": "smooth_l1"}),
    (LORA, {"huber_scale": "1"}, "huber_scale does nothing", {"huber_scale": None}),
    (LORA, {"max_train_epochs": "10"}, "max_train_steps does nothing", {"max_train_steps": None}),
    (
        LORA,
        {"sample_every_n_steps": "9", "sample_every_n_epochs": "1", "sample_prompts": "a.txt"},
        "sample_every_n_steps does nothing",
        {"sample_every_n_epochs": None},
    ),
    (LORA, {"resolution": "512"}, "far below the 1024", {"resolution": "896,1152"}),
    (
        LORA,
        {"cache_text_encoder_outputs_to_disk": "true"},
        "the cache on disk does not notice",
        {"cache_text_encoder_outputs_to_disk": None},
    ),
    (FULL, {"resume": "state"}, "counts its steps and epochs from zero", {"resume": None}),
    (LORA, {"resume": "state"}, "counts its steps from zero", {"skip_until_initial_step": "true"}),
    (FULL, {"save_model_as": None}, "may be a .ckpt", {"use_safetensors": "true"}),
    (LORA, {"noise_offset_random_strength": "true"}, "does nothing without noise_offset", {"noise_offset": "0.1"}),
    (LORA, {"ip_noise_gamma_random_strength": "true"}, "nothing without ip_noise_gamma", {"ip_noise_gamma": "0.1"}),
    (LORA, {"multires_noise_discount": "0.3"}, "nothing without multires", {"multires_noise_iterations": "6"}),
    (LORA, {"dynamo_backend": "inductor"}, "nothing without torch_compile", {"dynamo_backend": None}),
    (LORA, {"keep_tokens": "1"}, "keep_tokens does nothing", {**UNCACHED, "shuffle_caption": "true"}),
    (LORA, {"token_warmup_min": "1"}, "nothing without token_warmup_step", {"token_warmup_min": None}),
    (FULL, {"learning_rate_te1": "1e-6"}, "learning_rate_te1 does nothing", {**UNCACHED, "train_text_encoder": "true"}),
    (FULL, {"learning_rate_te2": "1e-6"}, "learning_rate_te2 does nothing", {"learning_rate_te2": None}),
    (FULL, {"save_every_n_steps": None}, "save_last_n_steps does nothing", {"save_last_n_steps": None}),
    (LORA, {"save_last_n_epochs": "2"}, "save_last_n_epochs does nothing", {"save_every_n_epochs": "1"}),
    (
        LORA,
        {"save_state": None, "save_last_n_epochs_state": None},
        "save_last_n_steps_state does nothing",
        {"save_state": "true"},
    ),
    (
        LORA,
        {"save_state": None, "save_last_n_steps_state": None},
        "save_last_n_epochs_state does nothing",
        {"save_state": "true"},
    ),
    (LORA, {"sample_prompts": "a.txt"}, "sample_prompts does nothing", {"sample_every_n_steps": "100"}),
    (LORA, {"validate_every_n_steps": "9"}, "nothing without validation_split", {"validation_split": "0.1"}),
    (LORA, {"validate_every_n_epochs": "1"}, "nothing without validation_split", {"validation_split": "0.1"}),
    (LORA, {"max_validation_steps": "9"}, "nothing without validation_split", {"validation_split": "0.1"}),
    (LORA, {"base_weights_multiplier": "0.5"}, "nothing without base_weights", {"base_weights": "a.safetensors"}),
    (LORA, {"skip_until_initial_step": "true"}, "skip_until_initial_step does nothing", {"initial_step": "5"}),
    (LORA, {"resume_from_huggingface": "true"}, "nothing without resume", {"resume_from_huggingface": None}),
    (LORA, {"zero_stage": "2"}, "zero_stage does nothing", {"zero_stage": None}),
    (LORA, {"offload_optimizer_device": "cpu"}, "nothing without deepspeed", {"deepspeed": "true"}),
    (LORA, {"offload_param_device": "cpu"}, "nothing without deepspeed", {"deepspeed": "true"}),
    (LORA, {"network_args": "rank_drop=0.1"}, "knows no 'rank_drop'", {"network_args": "rank_dropout=0.1"}),
]

SHAPES: list[Case] = [
    (LORA, {"resolution": "1024x1024"}, "resolution must be one size or WIDTH,HEIGHT", {"resolution": "1024, 1024"}),
    (LORA, {"resolution": "1,2,3"}, "resolution must be one size", {"resolution": "1024"}),
    (LORA, {"resolution": "0"}, "resolution must be one size", {"resolution": "768"}),
    (FULL, {"block_lr": "1e-5,1e-5"}, "takes 23 comma-separated numbers", {"block_lr": ",".join(["1e-5"] * 23)}),
    (LORA, {"face_crop_aug_range": "4,2"}, "the smaller first", {"face_crop_aug_range": "2,4"}),
    (LORA, {"lr_warmup_steps": "1.5"}, "must be a number of steps, or a share", {"lr_warmup_steps": "100"}),
    (LORA, {"lr_warmup_steps": "-1"}, "must be a number of steps, or a share", {"lr_warmup_steps": "10%"}),
    (LORA, {"lr_warmup_steps": "-5"}, "must be a number of steps, or a share", {"lr_warmup_steps": "0"}),
    (LORA, {"sample_prompts": "prompts.md"}, "ends in .txt, .toml or .json", {"sample_prompts": "prompts.txt"}),
    (LORA, {"optimizer_args": "weight_decay"}, "takes key=value, not 'weight_decay'", {"optimizer_args": "eps=1e-8"}),
    (LORA, {"optimizer_args": "betas=0.9,x"}, "whose value is not valid Python", {"optimizer_args": "betas=0.9,0.99"}),
    (LORA, {"optimizer_args": "a='b=c'"}, "with more than one =", {"optimizer_args": "a='b'"}),
    (LORA, {"optimizer_args": "eps=1 eps=2"}, "has 'eps' more than once", {"optimizer_args": "eps=1"}),
    (LORA, {"lr_scheduler_args": "x=y"}, "whose value is not valid Python", {"lr_scheduler_args": "x='y'"}),
    (LOCON, {"network_args": "conv_dim=0"}, "a whole number above 0", {"network_args": "conv_dim=1"}),
    (LOCON, {"network_args": "conv_dim=8 conv_dim=4"}, "'conv_dim' more than once", {"network_args": "conv_dim=8"}),
    (LOCON, {"network_args": "conv_dim=8 conv_alpha=x"}, "has to be a number", {"network_args": "conv_dim=8"}),
    (LOCON, {"network_args": "conv_dim=8 conv"}, "takes key=value", {"network_args": "conv_dim=8"}),
    *(
        (
            LOKR,
            {"network_module": "lycoris.kohya", "network_args": f"algo=lokr {wrong}"},
            sentence,
            {"network_args": f"algo=lokr {mend}"},
        )
        for wrong, sentence, mend in (
            ("factor=0", "a whole number above 0, or -1", "factor=-1"),
            ("factor=wide", "a whole number above 0, or -1", "factor=16"),
            ("conv_dim=-1", "0 for no convolutions", "conv_dim=0"),
            ("conv_alpha=much", "has to be a number, 0 or more", "conv_alpha=0.5"),
            ("rank_dropout=2", "between 0 and 1", "rank_dropout=0.2"),
            ("module_dropout=x", "between 0 and 1", "module_dropout=1"),
            ("use_tucker=maybe", "a switch: True or False", "use_tucker=0"),
            ("use_cp=True disable_conv_cp=True", "contradict each other", "use_cp=True disable_conv_cp=False"),
            ("use_cp=False use_tucker=True", "contradict each other", "use_tucker=True"),
            ("preset=half", "not one of LyCORIS'", "preset=full"),
            ("preset=mine.toml", "give the full path", "preset=/home/me/mine.toml"),
            ("block_size=0", "a whole number above 0", "block_size=4"),
        )
    ),
    *(
        (LOCON, {"network_module": "lycoris.kohya", "network_args": wrong}, sentence, {"network_args": mend})
        for wrong, sentence, mend in (
            ("algo=ia3", "lists but can't train", "algo=lora"),
            ("algo=lcon", "did you mean locon?", "algo=locon"),
            ("algo=dylora block_size=5", "a multiple of block_size, 5", "algo=dylora block_size=8"),
        )
    ),
    (LORA, {"network_args": "network_dim=8"}, "which is a separate option", {"network_args": None}),
    (
        LORA,
        {"network_args": "block_dims=4,4"},
        "block_dims, which takes 23",
        {"network_args": f"block_dims={','.join('4' * 23)}"},
    ),
    (
        LORA,
        {"network_args": f"block_dims={','.join(['0.5'] * 23)}"},
        "which takes whole numbers",
        {"network_args": None},
    ),
    (
        LORA,
        {"network_args": "mid_lr_weight=1,1"},
        "mid_lr_weight, which takes 3",
        {"network_args": "mid_lr_weight=1,1,1"},
    ),
    (
        LORA,
        {"network_args": "up_lr_weight=flat"},
        "up_lr_weight, which takes 9",
        {"network_args": "up_lr_weight=sine+.1"},
    ),
    (LORA, {"network_dim": "0"}, "network_dim has to be at least 1, not 0", {"network_dim": "1"}),
    (LORA, {"learning_rate": "-1e-4"}, "learning_rate has to be at least 0", {"learning_rate": "1e-4"}),
    (LORA, {"text_encoder_lr": "1e-5 -1"}, "text_encoder_lr has to be at least 0", {"text_encoder_lr": "1e-5"}),
    (LORA, {"network_dropout": "1.5"}, "has to be between 0 and 1, not 1.5", {"network_dropout": "0.5"}),
    (LORA, {"seed": "-1"}, "seed has to be between 0 and 4294967295, not -1", {"seed": "0"}),
]


@pytest.mark.parametrize(("kind", "change", "sentence", "mend"), REFUSED + SHAPES)
def test_a_recipe_is_refused_until_it_is_mended(kind: Kind, change: Changes, sentence: str, mend: Changes) -> None:
    with pytest.raises(RecipeError) as caught:
        rules.require(changed(kind, change), TABLE)
    assert sentence in str(caught.value)

    after = words(rules.all_problems(changed(kind, change, mend), TABLE))
    assert not [message for message in after if sentence in message]


WARNED += silent_cases.WARNED
WARNED += [
    (
        kind,
        {"optimizer_type": "pytorch_optimizer.AdamG", "optimizer_args": None, "learning_rate": "1"},
        "destroys the model with most optimizers",
        {"learning_rate": rate},
    )
    for kind, rate in ((LORA, "1e-4"), (FULL, "1e-5"))
]


@pytest.mark.parametrize(("kind", "change", "sentence", "mend"), WARNED)
def test_a_recipe_is_warned_of_until_it_is_mended(kind: Kind, change: Changes, sentence: str, mend: Changes) -> None:
    assert [message for message in warned(changed(kind, change)) if sentence in message]
    assert not [message for message in warned(changed(kind, change, mend)) if sentence in message]


def test_every_rule_has_a_case() -> None:
    problems = {
        message for kind, change, _, _ in REFUSED for message in words(rules.all_problems(changed(kind, change), TABLE))
    }
    warnings = {message for kind, change, _, _ in WARNED for message in warned(changed(kind, change))}

    assert {rule.words for rule in rules.CONFLICTS} <= problems
    assert {rule.words for rule in rules.TRAPS} <= warnings


@pytest.mark.parametrize(("kind", "change", "sentence", "mend"), silent_cases.REFUSED + silent_cases.WARNED)
def test_a_hint_of_flags_mends_what_trains_nothing(kind: Kind, change: Changes, sentence: str, mend: Changes) -> None:
    def said(recipe: Recipe) -> list[Problem]:
        typed = options.convert(recipe, TABLE)
        return [one for one in (*rules.all_problems(recipe, TABLE), *rules.warnings(typed)) if sentence in one.message]

    (problem,) = said(changed(kind, change))
    typed = [word.partition("=")[::2] for word in re.findall(r"--set (\S+?)(?=[,;:]?(?:\s|$))", problem.hint or "")]
    typed = typed if ", or --set" not in (problem.hint or "") else typed[:1]

    assert mend
    assert not typed or not said(
        changed(kind, change, {name: None if value == "null" else value for name, value in typed})
    )


def test_every_option_in_a_rule_is_one_of_sd_scripts() -> None:
    looked_at = {option for rule in (*rules.CONFLICTS, *rules.TRAPS) for option in rule.options}

    assert looked_at | value_rules.OWNED.keys() | value_rules.RANGES.keys() <= ALL_OPTIONS


@pytest.mark.parametrize("option", sorted(value_rules.OWNED))
def test_what_sdxl_train_sets_itself_is_refused_with_the_way_to_say_it(option: str) -> None:
    recipe = changed(FULL, {option: {"dataset_repeats": "3", "console_log_level": "INFO"}.get(option, "true")})

    found = [problem for problem in rules.all_problems(recipe, TABLE) if problem.message.startswith(option)]

    assert [problem.message for problem in found] == [f"{option} is set by sdxl-train itself"]
    assert found[0].hint == value_rules.OWNED[option]
    assert str(found[0].where) == f"--set {option}"


def test_a_switch_of_ours_that_is_off_is_let_pass() -> None:
    assert words(rules.all_problems(changed(LORA, {"v2": "false"}), TABLE)) == []


@pytest.mark.parametrize("option", sorted(value_rules.RANGES))
def test_a_number_below_its_range_is_refused(option: str) -> None:
    kind = LORA if option in TABLE.of(LORA) else FULL

    messages = words(rules.all_problems(changed(kind, {option: "-1"}), TABLE))

    assert any(message.startswith(f"{option} has to be ") for message in messages)


def test_a_problem_points_at_the_line_that_caused_it() -> None:
    problem = next(rules.all_problems(changed(LORA, {"shuffle_caption": "true"}), TABLE))

    assert str(problem.where) == "--set shuffle_caption"
    assert [way.flags for way in problem.ways] == [
        "--set shuffle_caption=null",
        "--set cache_text_encoder_outputs=null --set cache_text_encoder_outputs_to_disk=null",
    ]


def test_everything_that_is_wrong_is_raised_at_once() -> None:
    change: Changes = {"netwrk_dim": "8", "seed": "many", "shuffle_caption": "true", "vae": "a.safetensors"}

    with pytest.raises(RecipeError) as caught:
        rules.require(changed(LORA, change), TABLE)

    assert [str(problem.where) for problem in caught.value.problems] == [
        "--set seed",
        "--set netwrk_dim",
        "--set vae",
        "--set shuffle_caption",
    ]


def test_an_option_of_the_wrong_type_is_told_once_and_not_judged_further() -> None:
    messages = words(rules.all_problems(changed(LORA, {"network_train_unet_only": "perhaps"}), TABLE))

    assert messages == ["network_train_unet_only: is a switch, true or false, not 'perhaps'"]


def test_what_require_gives_back_is_typed() -> None:
    recipe = rules.require(changed(LORA, {"network_dim": "8", "network_alpha": "4"}), TABLE)

    assert (recipe.get("network_dim"), recipe.get("network_alpha")) == (8, 4.0)


def test_max_token_length_is_judged_even_before_anything_is_set_up() -> None:
    recipe = changed(LORA).replaced({"max_token_length": Setting(value=77, origin="a.yaml:1")})

    assert words(rules.problems(recipe)) == ["max_token_length must be 150 or 225 (75 if not set), not 77"]


def test_lists_from_a_file_are_judged_like_text() -> None:
    settings = {
        "resolution": Setting(value=(1024, 1024), origin="a.yaml:1"),
        "block_lr": Setting(value=(1e-5,) * 23, origin="a.yaml:2"),
        "face_crop_aug_range": Setting(value=(2.0, 4.0), origin="a.yaml:3"),
        "optimizer_args": Setting(value=("relative_step=False", "eps=(1e-30, 1e-3)"), origin="a.yaml:4"),
    }

    assert words(rules.problems(changed(FULL).replaced(settings))) == []
    assert words(rules.all_problems(changed(FULL).replaced(settings), TABLE)) == []


def test_what_can_be_typed_is_no_prose() -> None:
    """Only ways out are tried before they are told."""
    hints = {rule.words: rule.hint for rule in (*rules.CONFLICTS, *rules.TRAPS)}
    prose = {words: hint if isinstance(hint, str) else hint and hint.advice for words, hint in hints.items()}

    assert not {words: text for words, text in prose.items() if text and "--set" in text}


@pytest.mark.parametrize("name", ["pytorch_optimizer.AdamG", "pytorch_optimizer.AdaDelta", "pytorch_optimizer.SM3"])
def test_a_high_rate_is_refused_only_for_optimizers_that_are_known(name: str) -> None:
    recipe = changed(LORA, {"optimizer_type": name, "learning_rate": "1"})

    assert words(rules.all_problems(recipe, TABLE)) == []
    assert any("this one is not known here" in text for text in warned(recipe))


@pytest.mark.parametrize("scale", ["True", "False"])
def test_adafactor_with_a_rate_of_its_own_is_judged_by_it(scale: str) -> None:
    arguments = f"relative_step=False scale_parameter={scale} warmup_init=False"
    adafactor = {"optimizer_type": "Adafactor", "optimizer_args": arguments, "lr_scheduler": "cosine"}
    high, usual = ({**adafactor, "learning_rate": rate} for rate in ("1", "1e-4"))

    assert any("destroys the model" in text for text in words(rules.all_problems(changed(LORA, high), TABLE)))
    assert words(rules.all_problems(changed(LORA, usual), TABLE)) == []
