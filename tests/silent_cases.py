"""Settings with which sd-scripts would end well and have learned nothing, or something else, and what mends each."""

from __future__ import annotations

from sdxl_train_cli.recipe import Kind

Changes = dict[str, str | None]
Case = tuple[Kind, Changes, str, Changes]
LORA, LOCON, LOHA, LOKR, FULL, EMBEDDING = Kind
BOTH: Changes = {"cache_text_encoder_outputs": "false", "network_train_unet_only": None}
"""The text encoders are trained too."""
PRODIGY: Changes = {"optimizer_type": "Prodigy", "learning_rate": "1"}
TORCH_SCHEDULE: Changes = {"lr_scheduler": None, "lr_warmup_steps": "0", "max_train_steps": "2000"}
FREE: Changes = {"lr_scheduler": "constant", "lr_warmup_steps": "0"}
BLOCKS = ",".join(["0"] * 23)
SOME = ",".join(["0"] * 12 + ["1e-5"] * 11)

REFUSED: list[Case] = [
    (
        LORA,
        {"network_args": "down_lr_weight=zeros mid_lr_weight=0,0,0 up_lr_weight=zeros"},
        "a learning rate of 0",
        {"network_args": "down_lr_weight=zeros mid_lr_weight=0,0,0 up_lr_weight=zeros+.5"},
    ),
    (
        LORA,
        {**BOTH, "network_train_text_encoder_only": "true", "text_encoder_lr": "0", "unet_lr": "1e-4"},
        "a learning rate of 0",
        {"text_encoder_lr": "1e-5"},
    ),
    (FULL, {"block_lr": BLOCKS}, "a learning rate of 0", {"block_lr": SOME}),
    (
        FULL,
        {
            "cache_text_encoder_outputs": "false",
            "train_text_encoder": "true",
            "learning_rate": "0",
            "learning_rate_te1": "1e-6",
            "block_lr": SOME,
        },
        "block_lr does nothing",
        {"learning_rate": "1e-5"},
    ),
    (LORA, {"network_args": "loraplus_lr_ratio=0"}, "upper matrices at zero", {"network_args": "loraplus_lr_ratio=16"}),
    (
        LORA,
        {"network_args": "loraplus_unet_lr_ratio=0, loraplus_lr_ratio=0"},
        "upper matrices at zero",
        {"network_args": "loraplus_unet_lr_ratio=0"},  # sd-scripts takes this one for off
    ),
    (
        LORA,
        {**PRODIGY, **BOTH, "text_encoder_lr": "0.5"},
        "stops at its first step",
        {"text_encoder_lr": "1"},
    ),
    (LORA, {**PRODIGY, **BOTH, "text_encoder_lr": "0.5"}, "stops at its first step", {"text_encoder_lr": "0"}),
    (
        LORA,
        {**BOTH, "optimizer_type": "prodigyopt.Prodigy", "learning_rate": "1", "text_encoder_lr": "0.5"},
        "stops at its first step",
        {"optimizer_type": "prodigyplus.ProdigyPlusScheduleFree", **FREE},
    ),
    (
        LORA,
        {**PRODIGY, "network_args": "loraplus_lr_ratio=4"},
        "which network_args asks for",
        {"network_args": "loraplus_lr_ratio=1"},
    ),
    (
        LORA,
        {**PRODIGY, "network_args": "down_lr_weight=linear mid_lr_weight=1,1,1 up_lr_weight=sine"},
        "which network_args asks for",
        {"network_args": "down_lr_weight=zeros mid_lr_weight=1,1,1 up_lr_weight=zeros+1"},
    ),
    (
        FULL,
        {**PRODIGY, "optimizer_args": None, "block_lr": SOME.replace("1e-5", "1", 3)},
        "stops at its first step",
        {"block_lr": SOME.replace("1e-5", "1")},
    ),
    (LORA, {"learning_rate": "1"}, "destroys the model", {"optimizer_type": "Prodigy"}),
    (LORA, {"unet_lr": "0.1"}, "destroys the model", {"unet_lr": "0.01"}),
    (LORA, {"learning_rate": "1"}, "destroys the model", {"optimizer_type": "SGD"}),
    (LORA, {"optimizer_type": "Prodigy"}, "learns next to nothing", {"learning_rate": "1"}),
    (
        LORA,
        {"optimizer_type": "prodigyplus.ProdigyPlusScheduleFree", **FREE},
        "learns next to nothing",
        {"learning_rate": "0.5"},
    ),
    (
        LORA,
        {
            "optimizer_type": "prodigyplus.ProdigyPlusScheduleFree",
            "learning_rate": "1",
            "optimizer_args": "fused_back_pass=true",
            **FREE,
        },
        "nothing would be trained",
        {"optimizer_args": "fused_back_pass=False"},
    ),
    (LORA, {**PRODIGY, "optimizer_args": "growth_rate=1"}, "can't rise", {"optimizer_args": "growth_rate=1.02"}),
    (
        LORA,
        {**PRODIGY, "optimizer_args": "growth_rate=0.5"},
        "can't rise",
        {"optimizer_args": "growth_rate=1e999"},
    ),
    *(
        (
            LORA,
            {**TORCH_SCHEDULE, "lr_scheduler_type": name, "lr_scheduler_args": ends},
            "almost the whole run",
            {"lr_scheduler_args": lasts},
        )
        for name, ends, lasts in (
            ("StepLR", "step_size=100 gamma=0", "step_size=600 gamma=0.5"),
            ("torch.optim.lr_scheduler.StepLR", "step_size=10", "step_size=1000"),
            ("ExponentialLR", "gamma=0.9", "gamma=0.999"),
            ("MultiStepLR", "milestones=[50] gamma=1e-3", "milestones=[1500] gamma=1e-3"),
            ("PolynomialLR", "power=1", "total_iters=2000"),
            ("LinearLR", "start_factor=1.0 end_factor=0.0", "start_factor=1.0 end_factor=0.0 total_iters=2000"),
        )
    ),
    (LORA, {**PRODIGY, "optimizer_args": "d_coef=0"}, "never finds a rate", {"optimizer_args": "d_coef=1"}),
    (LORA, {**PRODIGY, "optimizer_args": "d0=0.5"}, "the rate of the first steps", {"optimizer_args": "d0=1e-5"}),
    (
        LORA,
        {"optimizer_type": "pytorch_optimizer.ScheduleFreeAdamW", **FREE},
        "not the trained ones",
        {"optimizer_type": "AdamWScheduleFree"},
    ),
    (LORA, {"network_dropout": "1"}, "out of every step", {"network_dropout": "0.1"}),
    (LORA, {"network_args": "module_dropout=1"}, "out of every step", {"network_args": "module_dropout=0.1"}),
    (LORA, {"network_args": f"block_dims={BLOCKS}"}, "block_dims is 0", {"network_args": f"block_dims={BLOCKS[:-1]}4"}),
    (
        LORA,
        {"loss_type": "huber", "huber_schedule": "constant", "huber_c": "0"},
        "the loss is 0",
        {"huber_c": "0.1"},
    ),
    (LORA, {"validation_split": "1"}, "leaves none to train on", {"validation_split": "0.1"}),
    (FULL, {"torch_compile": "true"}, "_orig_mod", {"torch_compile": "false"}),
]

WARNED: list[Case] = [
    (
        LORA,
        {**BOTH, "optimizer_type": "DAdaptAdan", "learning_rate": "1", "text_encoder_lr": "0.5"},
        "the rate of the first one",
        {"text_encoder_lr": None},
    ),
    (LORA, {"optimizer_type": "SGDNesterov"}, "plain gradient descent", {"learning_rate": "1"}),
    (
        LORA,
        {"optimizer_args": "weight_decay=500"},
        "takes away more than 1 %",
        {"optimizer_args": "weight_decay=0.01"},
    ),
    (LORA, {"lr_scheduler": "warmup_stable_decay"}, "never lowers the rate", {"lr_decay_steps": "0.2"}),
    (LORA, {**PRODIGY, "optimizer_args": "d0=1e-12"}, "the rate may never rise", {"optimizer_args": "d0=1e-6"}),
    (
        LORA,
        {**TORCH_SCHEDULE, "lr_scheduler_type": "StepLR", "lr_scheduler_args": "step_size=800 gamma=0"},
        "more than half of the run",
        {"lr_scheduler_args": "step_size=1200 gamma=0"},
    ),
    (
        LORA,
        {"noise_offset": "0.05", "adaptive_noise_scale": "-0.5"},
        "takes the whole noise_offset away",
        {"adaptive_noise_scale": "-0.05"},
    ),
    (
        LORA,
        {"lr_scheduler": "polynomial", "lr_scheduler_power": "100"},
        "next to 0 after a few steps",
        {"lr_scheduler_power": "2"},
    ),
    (LORA, {"lr_warmup_steps": "90%"}, "half of the run or more", {"lr_warmup_steps": "100"}),
    (
        LORA,
        {"lr_scheduler_type": "CosineAnnealingLR", "lr_scheduler_args": "T_max=9", "lr_warmup_steps": "0"},
        "so lr_scheduler does nothing",
        {"lr_scheduler": None},
    ),
    (
        LORA,
        {"lr_scheduler_num_cycles": "3"},
        "lr_scheduler_num_cycles does nothing",
        {"lr_scheduler": "cosine_with_restarts"},
    ),
    (LORA, {"lr_scheduler_power": "3"}, "lr_scheduler_power does nothing", {"lr_scheduler": "polynomial"}),
    (LORA, {"lr_scheduler_timescale": "3"}, "lr_scheduler_timescale does nothing", {"lr_scheduler_timescale": None}),
    (
        LORA,
        {"lr_scheduler_min_lr_ratio": "0.1"},
        "lr_scheduler_min_lr_ratio does nothing",
        {"lr_scheduler": "cosine_with_min_lr"},
    ),
    (LORA, {"lr_decay_steps": "0.1"}, "lr_decay_steps does nothing", {"lr_scheduler": "warmup_stable_decay"}),
    (LORA, {"network_alpha": "0"}, "network_alpha 0 means", {"network_alpha": "16"}),
    (LORA, {"network_alpha": "0.1"}, "less than a 256th", {"network_alpha": "1"}),
    (LORA, {"scale_weight_norms": "0.01"}, "close to nothing", {"scale_weight_norms": "1"}),
    (LOHA, {"scale_weight_norms": "1"}, "does nothing with networks.loha", {"scale_weight_norms": None}),
    (
        LORA,
        {"dim_from_weights": "true", "network_weights": "a.safetensors"},
        "network_dim, network_alpha and network_dropout do nothing",
        {"network_dim": None, "network_alpha": None},
    ),
    (
        LORA,
        {"dim_from_weights": "true", "network_weights": "a.safetensors", "network_args": "loraplus_lr_ratio=4"},
        "only ..._lr_weight counts",
        {"network_args": None},
    ),
    (
        LORA,
        {**BOTH, "network_train_text_encoder_only": "true", "unet_lr": "1e-4"},
        "unet_lr does nothing",
        {"unet_lr": None},
    ),
    (LORA, {**BOTH, "caption_dropout_rate": "1"}, "drops every caption", {"caption_dropout_rate": "0.1"}),
    (
        LORA,
        {**BOTH, "caption_dropout_every_n_epochs": "1"},
        "in every epoch",
        {"caption_dropout_every_n_epochs": "2"},
    ),
    (LORA, {**BOTH, "caption_tag_dropout_rate": "1"}, "drops every tag", {"caption_tag_dropout_rate": "0.5"}),
    (LORA, {"min_timestep": "990"}, "fewer than 50", {"min_timestep": "500"}),
    (LORA, {"noise_offset": "1"}, "spoils colours", {"noise_offset": "0.05"}),
    (LORA, {"noise_offset": "0.05", "adaptive_noise_scale": "1"}, "scale above 0.3", {"adaptive_noise_scale": "0.05"}),
    (LORA, {"ip_noise_gamma": "1"}, "drowns the pictures", {"ip_noise_gamma": "0.1"}),
    (LORA, {"min_snr_gamma": "0.01"}, "next to nothing of the loss", {"min_snr_gamma": "5"}),
    (
        LORA,
        {"loss_type": "huber", "huber_scale": "2"},
        "huber_scale does nothing with the huber_schedule snr",
        {"huber_schedule": "constant"},
    ),
    (LORA, {"prior_loss_weight": "0"}, "teach nothing", {"prior_loss_weight": "0.5"}),
    (FULL, {"full_bf16": "true"}, "rounds most changes", {"fused_backward_pass": "true"}),
    (LORA, {"cache_info": "true"}, "metadata_cache.json", {"cache_info": "false"}),
    (LORA, {"cache_latents": "false", "vae_batch_size": "4"}, "vae_batch_size does nothing", {"cache_latents": "true"}),
    (LORA, {"skip_cache_check": "true"}, "skip_cache_check does nothing", {"cache_latents_to_disk": "true"}),
    (LORA, {"validation_seed": "1"}, "validation_seed does nothing", {"validation_split": "0.1"}),
    (
        LORA,
        {"bucket_no_upscale": "true", "enable_bucket": "false"},
        "bucket_no_upscale does nothing",
        {"enable_bucket": "true"},
    ),
    (LORA, {**BOTH, "caption_separator": ";"}, "caption_separator does nothing", {"shuffle_caption": "true"}),
    (LORA, {**BOTH, "keep_tokens_separator": "|||"}, "keep_tokens_separator does", {"shuffle_caption": "true"}),
    (LORA, {"wandb_run_name": "x"}, "wandb_run_name does nothing", {"wandb_run_name": None}),
    *(
        (LORA, {option: "true"}, f"{option} does nothing", {option: None})
        for option in (
            "huggingface_path_in_repo",
            "huggingface_repo_type",
            "huggingface_repo_visibility",
            "async_upload",
        )
    ),
]
