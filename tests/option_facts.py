"""The options of sd-scripts v0.10.1's two SDXL training scripts: names, types and choices, as its argparse has them."""

from __future__ import annotations

from sdxl_train_cli.sdscripts.options import Option, OptionTable, OptionType

SWITCHES = """
    alpha_mask async_upload bucket_no_upscale cache_info cache_latents cache_latents_to_disk
    cache_text_encoder_outputs cache_text_encoder_outputs_to_disk color_aug console_log_simple
    cpu_offload_checkpointing ddp_gradient_as_bucket_view ddp_static_graph debiased_estimation_loss
    debug_dataset deepspeed diffusers_xformers dim_from_weights disable_mmap_load_safetensors enable_bucket
    enable_wildcard flip_aug fp16_master_weights_and_gradients fp8_base fp8_base_unet full_bf16 full_fp16
    fused_backward_pass gradient_checkpointing highvram ip_noise_gamma_random_strength log_config lowram
    masked_loss mem_eff_attn network_train_text_encoder_only network_train_unet_only no_half_vae no_metadata
    noise_offset_random_strength output_config persistent_data_loader_workers random_crop
    resume_from_huggingface sample_at_first save_state save_state_on_train_end save_state_to_huggingface
    scale_v_pred_loss_like_noise_pred sdpa shuffle_caption skip_cache_check skip_until_initial_step
    torch_compile train_text_encoder use_8bit_adam use_lion_optimizer use_safetensors v2 v_parameterization
    weighted_captions xformers zero3_init_flag zero3_save_16bit_model zero_terminal_snr
"""
INTS = """
    bucket_reso_steps caption_dropout_every_n_epochs clip_skip dataset_repeats ddp_timeout
    fused_optimizer_groups gradient_accumulation_steps initial_epoch initial_step keep_tokens
    lr_scheduler_num_cycles lr_scheduler_timescale max_bucket_reso max_data_loader_n_workers max_timestep
    max_token_length max_train_epochs max_train_steps max_validation_steps min_bucket_reso min_timestep
    multires_noise_iterations network_dim sample_every_n_epochs sample_every_n_steps save_every_n_epochs
    save_every_n_steps save_last_n_epochs save_last_n_epochs_state save_last_n_steps save_last_n_steps_state
    save_n_epoch_ratio seed token_warmup_min train_batch_size vae_batch_size validate_every_n_epochs
    validate_every_n_steps validation_seed zero_stage
"""
FLOATS = """
    adaptive_noise_scale base_weights_multiplier caption_dropout_rate caption_tag_dropout_rate huber_c
    huber_scale ip_noise_gamma learning_rate learning_rate_te1 learning_rate_te2 lr_decay_steps
    lr_scheduler_min_lr_ratio lr_scheduler_power lr_warmup_steps max_grad_norm min_snr_gamma
    multires_noise_discount network_alpha network_dropout noise_offset prior_loss_weight scale_weight_norms
    text_encoder_lr token_warmup_step unet_lr v_pred_like_loss validation_split
"""
TEXTS = """
    base_weights block_lr caption_extension caption_extention caption_prefix caption_separator caption_suffix
    conditioning_data_dir config_file console_log_file console_log_level dataset_class dataset_config
    dynamo_backend face_crop_aug_range huber_schedule huggingface_path_in_repo huggingface_repo_id
    huggingface_repo_type huggingface_repo_visibility huggingface_token in_json keep_tokens_separator log_prefix
    log_tracker_config log_tracker_name log_with logging_dir loss_type lr_scheduler
    lr_scheduler_args lr_scheduler_type metadata_author metadata_description
    metadata_is_negative_embedding metadata_license metadata_merged_from metadata_preprocessor metadata_tags
    metadata_thumbnail metadata_title metadata_trigger_phrase metadata_usage_hint mixed_precision network_args
    network_module network_weights offload_optimizer_device offload_optimizer_nvme_path offload_param_device
    offload_param_nvme_path optimizer_args optimizer_type output_dir output_name pretrained_model_name_or_path
    reg_data_dir resize_interpolation resolution resume sample_prompts sample_sampler save_model_as
    save_precision secondary_separator tokenizer_cache_dir train_data_dir training_comment vae wandb_api_key
    wandb_run_name
"""
LISTS = """
    base_weights base_weights_multiplier lr_scheduler_args network_args optimizer_args text_encoder_lr
"""
ONLY_FULL = """
    block_lr diffusers_xformers fused_optimizer_groups learning_rate_te1 learning_rate_te2 train_text_encoder
    use_safetensors
"""
ONLY_NETWORK = """
    base_weights base_weights_multiplier cpu_offload_checkpointing dim_from_weights fp8_base_unet initial_epoch
    initial_step max_validation_steps network_alpha network_args network_dim network_dropout network_module
    network_train_text_encoder_only network_train_unet_only network_weights no_metadata prior_loss_weight
    scale_weight_norms skip_until_initial_step text_encoder_lr training_comment unet_lr validate_every_n_epochs
    validate_every_n_steps validation_seed validation_split
"""
CHOICES: dict[str, tuple[str | int, ...]] = {
    "mixed_precision": ("no", "fp16", "bf16"),
    "save_precision": ("float", "fp16", "bf16"),
    "save_model_as": ("ckpt", "safetensors"),
    "max_token_length": (150, 225),
    "log_with": ("tensorboard", "wandb", "all"),
    "loss_type": ("l1", "l2", "huber", "smooth_l1"),
    "huber_schedule": ("constant", "exponential", "snr"),
}
TYPES: dict[OptionType, str] = {"switch": SWITCHES, "int": INTS, "float": FLOATS, "str": TEXTS}


def _option(name: str, kind: OptionType) -> Option:
    return Option(
        name=name, flag=f"--{name}", type=kind, many=name in LISTS.split(), choices=CHOICES.get(name), default=None
    )


def option_table() -> OptionTable:
    options = [_option(name, kind) for kind, names in TYPES.items() for name in names.split()]
    return OptionTable(
        scripts={
            "sdxl_train.py": tuple(option for option in options if option.name not in ONLY_NETWORK.split()),
            "sdxl_train_network.py": tuple(option for option in options if option.name not in ONLY_FULL.split()),
        }
    )
