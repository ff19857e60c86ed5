"""Fields of the kohya_ss GUI: the sd-scripts option of each, and the fields without use here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class FieldForm(str, Enum):
    """How a field's value is converted."""

    SWITCH = "switch"
    NUMBER = "number"
    OFF_AT_ZERO = "number, zero for off"
    TEXT = "text"
    WORDS = "key=value words"


@dataclass(frozen=True)
class GuiField:
    """One field of the form."""

    option: str
    form: FieldForm


_SAME_NAME: Mapping[FieldForm, str] = {
    FieldForm.SWITCH: """
        async_upload bucket_no_upscale cache_latents cache_latents_to_disk color_aug debiased_estimation_loss
        dim_from_weights disable_mmap_load_safetensors enable_bucket flip_aug fp8_base full_bf16 full_fp16
        fused_backward_pass gradient_checkpointing highvram ip_noise_gamma_random_strength log_config masked_loss
        mem_eff_attn noise_offset_random_strength persistent_data_loader_workers random_crop resume_from_huggingface
        save_state save_state_on_train_end save_state_to_huggingface scale_v_pred_loss_like_noise_pred shuffle_caption
        skip_cache_check train_inpainting train_text_encoder v2 v_parameterization weighted_captions""",
    FieldForm.NUMBER: """
        bucket_reso_steps caption_dropout_every_n_epochs caption_dropout_rate gradient_accumulation_steps huber_c
        huber_scale keep_tokens learning_rate learning_rate_te1 learning_rate_te2 lr_scheduler_num_cycles
        lr_scheduler_power max_bucket_reso max_data_loader_n_workers max_grad_norm max_token_length min_bucket_reso
        network_alpha network_dim network_dropout prior_loss_weight scale_weight_norms train_batch_size""",
    FieldForm.OFF_AT_ZERO: """
        adaptive_noise_scale clip_skip fused_optimizer_groups ip_noise_gamma max_timestep max_train_epochs
        max_train_steps min_snr_gamma min_timestep multires_noise_iterations noise_offset sample_every_n_epochs
        sample_every_n_steps save_every_n_epochs save_every_n_steps save_last_n_epochs save_last_n_epochs_state
        save_last_n_steps save_last_n_steps_state seed v_pred_like_loss vae_batch_size""",
    FieldForm.TEXT: """
        block_lr caption_extension dataset_config dynamo_backend huber_schedule huggingface_path_in_repo
        huggingface_repo_id huggingface_repo_type huggingface_repo_visibility huggingface_token log_tracker_config
        log_tracker_name log_with logging_dir loss_type lr_scheduler lr_scheduler_type metadata_author
        metadata_description metadata_license metadata_tags metadata_title mixed_precision network_weights output_dir
        output_name pretrained_model_name_or_path reg_data_dir resume sample_prompts sample_sampler save_model_as
        save_precision train_data_dir training_comment vae wandb_api_key wandb_run_name""",
    FieldForm.WORDS: "lr_scheduler_args optimizer_args",
}

FIELDS: Mapping[str, GuiField] = {
    **{key: GuiField(key, form) for form, keys in _SAME_NAME.items() for key in keys.split()},
    "lora_network_weights": GuiField("network_weights", FieldForm.TEXT),
    "max_resolution": GuiField("resolution", FieldForm.TEXT),
    "multires_noise_discount": GuiField("multires_noise_discount", FieldForm.NUMBER),
    "optimizer": GuiField("optimizer_type", FieldForm.TEXT),
    "sdxl_cache_text_encoder_outputs": GuiField("cache_text_encoder_outputs", FieldForm.SWITCH),
    "sdxl_no_half_vae": GuiField("no_half_vae", FieldForm.SWITCH),
}
"""Fields that correspond to one option each."""

_LAUNCH = "sdxl-train launches the trainer itself; several GPUs are given by --gpus"
_NONE = "sd-scripts has no such option"
_PREPARATION = "prepared the pictures; sdxl-train reads them again"
_READING = "decides how other keys are read"

NO_OPTION: Mapping[str, str] = {
    **dict.fromkeys(
        [
            "num_processes", "num_machines", "multi_gpu", "gpu_ids", "main_process_port",
            "num_cpu_threads_per_process", "dynamo_mode", "dynamo_use_fullgraph", "dynamo_use_dynamic",
            "extra_accelerate_launch_args"
        ],
        _LAUNCH,
    ),
    **dict.fromkeys(
        [
            "stop_text_encoder_training", "stop_text_encoder_training_pct", "no_token_padding", "conv_dims",
            "conv_alphas", "lowvram", "fp8_base_unet", "learning_rate_te"
        ],
        _NONE,
    ),
    **dict.fromkeys(
        [
            "batch_size", "caption_metadata_filename", "create_buckets", "create_caption", "dataset_repeats",
            "full_path", "generate_caption_database", "generate_image_buckets", "image_folder",
            "latent_metadata_filename", "train_dir", "use_latent_files"
        ],
        _PREPARATION,
    ),
    **dict.fromkeys(("model_list", "model_type", "save_as_bool", "file_path"), "is used only by the GUI"),
    **dict.fromkeys(("sdxl", "sdxl_checkbox", "noise_offset_type"), _READING),
    "use_wandb": "TensorBoard logs are written; for wandb: `sdxl-train setup --extra wandb`, then --set log_with=wandb",
    "use_8bit_adam": "the optimizer is named",
}  # fmt: skip
"""Keys that become no option, and why."""

OTHER_MODELS: Mapping[str, str] = {
    "flux1_checkbox": "Flux",
    "sd3_checkbox": "SD3",
    "hunyuan_image_checkbox": "HunyuanImage",
    "anima_checkbox": "Anima",
    "lumina_checkbox": "Lumina",
}
"""Check boxes of models other than SDXL."""

OTHER_MODELS_KEYS = (
    r"(flux1?|sd3|hunyuan|anima|lumina)_.*|ae|clip_[lg].*|t5xxl.*|logit_.*|mode_scale|weighting_scheme|save_(clip|t5xxl)"
    r"|pos_emb_.*|discrete_flow_shift|model_prediction_type|timestep_sampling|split_(mode|qkv)|train_(blocks|t5xxl|lora_ggpo)"
    r"|guidance_scale|mem_eff_save|apply_t5_attn_mask|cpu_offload_checkpointing|(single_|double_)?blocks_to_swap"
    r"|show_timesteps.*|(img|txt|single)_.*dim|in_dims|train_(double|single)_block_indices|enable_all_linear|ggpo_.*"
    r"|blockwise_fused_optimizers"
)
"""Keys of those models' fields."""

FORM_DEFAULTS: Mapping[str, object] = {
    "bucket_no_upscale": True,
    "cache_latents": True,
    "enable_bucket": True,
    "max_bucket_reso": 2048,
    "max_data_loader_n_workers": 0,
    "mixed_precision": "fp16",
    "optimizer": "AdamW",
    "save_every_n_epochs": 1,
    "save_model_as": "safetensors",
    "save_precision": "fp16",
    "xformers": "xformers",
}
"""The form's defaults that differ from sd-scripts'."""
LORA_DEFAULTS: Mapping[str, object] = {
    "learning_rate": 0.0001,
    "lr_scheduler": "cosine",
    "network_dim": 8,
    "text_encoder_lr": 0.0001,
    "unet_lr": 0.0001,
}
"""Further defaults of the LoRA tab only."""


@dataclass(frozen=True)
class GuiNetwork:
    """One value of the field LoRA_type."""

    module: str
    algo: str | None = None
    arguments: tuple[str, ...] = ()
    """Keys of the form that are arguments of this network."""
    always: tuple[str, ...] = ()
    """Arguments that are passed whatever their value."""


_CONV = ("conv_dim", "conv_alpha")
_BLOCKS = [
    "down_lr_weight", "mid_lr_weight", "up_lr_weight", "block_lr_zero_threshold", "block_dims", "block_alphas",
    "conv_block_dims", "conv_block_alphas", "rank_dropout", "module_dropout"
]  # fmt: skip
_LORAPLUS = ("loraplus_lr_ratio", "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio")
_DROPOUTS = ("rank_dropout", "module_dropout")
_LYCORIS = "lycoris.kohya"


def _lycoris(algo: str, arguments: str, *, conv: bool = True) -> GuiNetwork:
    keys = ("LyCORIS_preset", *(_CONV if conv else ()), *arguments.split(), *_LORAPLUS)
    return GuiNetwork(_LYCORIS, algo, keys, _CONV if conv else ())


_LOCON = "use_tucker rank_dropout module_dropout bypass_mode dora_wd use_scalar rank_dropout_scale train_norm"
_KOHYA = (*_BLOCKS, *_LORAPLUS)

NETWORKS: Mapping[str, GuiNetwork] = {
    "Standard": GuiNetwork("networks.lora", None, _KOHYA),
    "Kohya LoCon": GuiNetwork("networks.lora", None, (*_CONV, *_KOHYA), _CONV),
    "LoRA-FA": GuiNetwork("networks.lora_fa", None, _KOHYA),
    "Kohya DyLoRA": GuiNetwork("networks.dylora", None, (*_CONV, *_KOHYA, "unit")),
    "Kohya LoHa": GuiNetwork("networks.loha", None, (*_CONV, "use_tucker", *_DROPOUTS, *_LORAPLUS)),
    "Kohya LoKr": GuiNetwork("networks.lokr", None, (*_CONV, "use_tucker", "factor", *_DROPOUTS, *_LORAPLUS)),
    "LoCon": _lycoris("locon", _LOCON),
    "LyCORIS/LoCon": _lycoris("locon", _LOCON),
    "LyCORIS/LoHa": _lycoris("loha", _LOCON),
    "LyCORIS/LoKr": _lycoris("lokr", _LOCON.replace("use_tucker", "use_cp") + " factor decompose_both"),
    "LyCORIS/DyLoRA": _lycoris("dylora", "use_tucker rank_dropout module_dropout train_norm unit"),
    "LyCORIS/GLoRA": _lycoris("glora", "use_tucker rank_dropout module_dropout rank_dropout_scale train_norm"),
    "LyCORIS/iA3": _lycoris("ia3", "train_on_input"),
    "LyCORIS/BOFT": _lycoris("boft", "use_tucker rank_dropout module_dropout rank_dropout_scale train_norm"),
    "LyCORIS/Diag-OFT": _lycoris(
        "diag-oft", "use_tucker rank_dropout module_dropout rank_dropout_scale constrain rescaled train_norm"
    ),
    "LyCORIS/Native Fine-Tuning": _lycoris(
        "full", "rank_dropout module_dropout rank_dropout_scale train_norm", conv=False
    ),
}
"""Networks by LoRA_type."""

NETWORK_KEYS = frozenset(key for network in NETWORKS.values() for key in network.arguments) | {"use_tucker", "use_cp"}
"""Every key that is an argument of some network."""
ARGUMENT_NAMES: Mapping[str, str] = {"LyCORIS_preset": "preset", "constrain": "constraint", "use_cp": "use_tucker"}
"""Arguments whose name differs from their key."""
ARGUMENT_DEFAULTS: Mapping[str, object] = {
    "LyCORIS_preset": "full",
    "factor": -1,
    "conv_dim": 1,
    "conv_alpha": 1,
    "unit": 1,
}
"""The form's defaults of arguments. The first two are LyCORIS' own as well."""
