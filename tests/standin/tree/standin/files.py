"""What a run leaves behind: small valid safetensors files with the real names of tensors and metadata keys."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import struct
import time

DTYPES = {"fp16": "F16", "bf16": "BF16", "float": "F32", None: "F32"}
SMALL = {"F16": b"\x00\x14", "BF16": b"\x80\x3a", "F32": b"\x00\x00\x80\x3a"}  # 2 ** -10 each

WORDS = {"clip_l": 768, "clip_g": 1280}
"""The tensors of an embedding, and the numbers of each of their vectors."""
DEPTHS = {"input_blocks_4": 2, "input_blocks_5": 2, "input_blocks_7": 10, "input_blocks_8": 10, "middle_block": 10,
          "output_blocks_0": 10, "output_blocks_1": 10, "output_blocks_2": 10, "output_blocks_3": 2,
          "output_blocks_4": 2, "output_blocks_5": 2}  # fmt: skip
"""How many transformer blocks stand where in the U-Net of SDXL."""
OF_A_BLOCK = tuple(f"attn{n}_to_{part}" for n in (1, 2) for part in ("q", "k", "v", "out_0")) + (
    "ff_net_0_proj",
    "ff_net_2",
)
OF_A_LAYER = tuple(f"self_attn_{part}_proj" for part in ("q", "k", "v", "out")) + ("mlp_fc1", "mlp_fc2")

RESNETS = (
    *(f"input_blocks_{n}_0" for n in (1, 2, 4, 5, 7, 8)), "middle_block_0", "middle_block_2",
    *(f"output_blocks_{n}_0" for n in range(9)),
)  # fmt: skip
WIDENING = ("input_blocks_4_0", "input_blocks_7_0", *(f"output_blocks_{n}_0" for n in range(9)))
RESAMPLERS = ("input_blocks_3_0_op", "input_blocks_6_0_op", "output_blocks_2_2_conv", "output_blocks_5_2_conv")


def linear_modules() -> list:
    """The 722 modules of a LoRA of the U-Net."""
    names = []
    for place, depth in DEPTHS.items():
        names += [f"lora_unet_{place}_1_proj_in", f"lora_unet_{place}_1_proj_out"]
        names += [f"lora_unet_{place}_1_transformer_blocks_{n}_{part}" for n in range(depth) for part in OF_A_BLOCK]
    return names


def resnet_modules() -> list:
    """The 28 modules that conv_dim adds and network_dim sizes."""
    return [f"lora_unet_{name}_emb_layers_1" for name in RESNETS] + [
        f"lora_unet_{name}_skip_connection" for name in WIDENING
    ]


def conv_modules() -> list:
    """The 38 convolutions that conv_dim adds and sizes."""
    parts = [f"lora_unet_{name}_{part}" for name in RESNETS for part in ("in_layers_2", "out_layers_3")]
    return parts + [f"lora_unet_{name}" for name in RESAMPLERS]


def text_encoder_modules(number: int) -> list:
    layers = {1: 12, 2: 32}[number]
    return [f"lora_te{number}_text_model_encoder_layers_{n}_{part}" for n in range(layers) for part in OF_A_LAYER]


PARTS = {
    "loha": ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),
    "lokr": ("lokr_w1", "lokr_w2"),
}
"""The tensors of one module that LyCORIS makes."""


def lora_tensors(args) -> dict:
    """Every tensor of the LoRA, with the real rank and all other sides 1."""
    options = dict(part.partition("=")[::2] for part in args.network_args or ())
    is_lycoris = args.network_module == "lycoris.kohya"
    if is_lycoris and options.get("preset", "full") == "full":  # LyCORIS takes the dim for convolutions too
        options = {"conv_dim": args.network_dim or 4, "conv_alpha": args.network_alpha or 1, **options}
    rank, alpha = args.network_dim or 4, args.network_alpha or args.network_dim or 4
    modules = {}
    if not args.network_train_text_encoder_only:
        modules.update(dict.fromkeys(linear_modules(), (rank, alpha, ())))
        if "conv_dim" in options:
            modules.update(dict.fromkeys(resnet_modules(), (rank, alpha, ())))
            conv = (int(options["conv_dim"]), float(options.get("conv_alpha", 1)), (3, 3))
            modules.update(dict.fromkeys(conv_modules(), conv))
    if not args.network_train_unet_only:
        for number in (1, 2):
            modules.update(dict.fromkeys(text_encoder_modules(number), (rank, alpha, ())))
    tensors = {}
    for name, (size, scale, kernel) in modules.items():
        tensors[f"{name}.alpha"] = ((), scale)
        if algo := options.get("algo") if is_lycoris else None:
            for part in PARTS.get(algo, ()):
                tensors[f"{name}.{part}"] = ((1, 1), None)
            if algo in PARTS:
                continue
        tensors[f"{name}.lora_down.weight"] = ((size, 1, *kernel), None)
        tensors[f"{name}.lora_up.weight"] = ((1, size, *(1 for _ in kernel)), None)
    return tensors


def full_tensors(model: str) -> dict:
    """The names in the base model, one number each; else a few of a whole SDXL's, enough to tell what it is."""
    if model.endswith(".safetensors") and os.path.getsize(model) > 8:
        with open(model, "rb") as file:
            names = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        return {name: ((1,), None) for name in names if name != "__metadata__"}
    unet, second = "model.diffusion_model", "conditioner.embedders.1.model"
    return {
        f"{unet}.input_blocks.0.0.weight": ((320, 4, 3, 3), None),
        f"{unet}.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": ((1, 2048), None),
        f"{unet}.label_emb.0.0.bias": ((1280,), None),
        f"{unet}.out.2.bias": ((4,), None),
        "conditioner.embedders.0.transformer.text_model.final_layer_norm.weight": ((768,), None),
        f"{second}.ln_final.weight": ((1280,), None),
        f"{second}.logit_scale": ((), 4.6),
        "first_stage_model.decoder.conv_in.bias": ((512,), None),
    }


def safetensors(tensors: dict, precision: str | None, metadata: dict) -> bytes:
    """The bytes of a whole file: length, header, data."""
    dtype = DTYPES[precision]
    header = {"__metadata__": metadata}
    chunks, offset = [], 0
    for name, (shape, value) in tensors.items():
        count = 1
        for side in shape:
            count *= side
        data = SMALL[dtype] * count if value is None else _encode(value, dtype)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
        chunks.append(data)
        offset += len(data)
    text = json.dumps(header).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(chunks)


def _encode(value: float, dtype: str) -> bytes:
    if dtype == "F16":
        return struct.pack("<e", value)
    single = struct.pack("<f", value)
    return single if dtype == "F32" else single[2:]


def checkpoint(args, metadata: dict, extension: str) -> bytes:
    """The bytes of one saved model."""
    if hasattr(args, "token_string"):
        tensors = {name: ((args.num_vectors_per_token, side), None) for name, side in WORDS.items()}
    elif hasattr(args, "network_module"):
        tensors = lora_tensors(args)
    else:
        tensors = full_tensors(args.pretrained_model_name_or_path)
    if extension != ".safetensors":
        return pickle.dumps({"state_dict": {name: shape for name, (shape, _) in tensors.items()}})
    data = safetensors(tensors, args.save_precision, metadata)
    if not hasattr(args, "network_module") or args.no_metadata:
        return data
    metadata = {**metadata, "sshs_model_hash": hashlib.sha256(data).hexdigest()}
    return safetensors(tensors, args.save_precision, metadata)


LORA_ONLY_MINIMUM = (
    "ss_v2",
    "ss_base_model_version",
    "ss_network_module",
    "ss_network_dim",
    "ss_network_alpha",
    "ss_network_args",
)

FROM_OPTIONS = (
    "output_name", "learning_rate", "text_encoder_lr", "unet_lr", "gradient_checkpointing",
    "gradient_accumulation_steps", "max_train_steps", "lr_warmup_steps", "lr_scheduler", "network_module",
    "network_dim", "network_alpha", "network_dropout", "mixed_precision", "full_fp16", "v2", "clip_skip",
    "max_token_length", "cache_latents", "seed", "lowram", "noise_offset", "multires_noise_iterations",
    "multires_noise_discount", "adaptive_noise_scale", "zero_terminal_snr", "training_comment", "max_grad_norm",
    "caption_dropout_rate", "caption_dropout_every_n_epochs", "caption_tag_dropout_rate", "face_crop_aug_range",
    "prior_loss_weight", "min_snr_gamma", "scale_weight_norms", "ip_noise_gamma", "loss_type", "huber_schedule",
    "huber_scale", "huber_c", "fp8_base", "fp8_base_unet", "validation_seed", "validation_split",
    "max_validation_steps", "validate_every_n_epochs", "validate_every_n_steps", "resize_interpolation",
)  # fmt: skip
"""Metadata keys that are ss_ and an option's name."""


def metadata(args, plan, started: float, step: int, epoch: int) -> dict:
    """What sd-scripts writes beside the tensors: text alone."""
    kind = "lora" if hasattr(args, "network_module") else None
    found = {
        "modelspec.architecture": "stable-diffusion-xl-v1-base" + (f"/{kind}" if kind else ""),
        "modelspec.title": args.metadata_title or args.output_name or "last",
        "standin": "nothing was trained: written by the stand-in for sd-scripts",
    }
    if kind is None:
        return found
    values = {f"ss_{name}": getattr(args, name) for name in FROM_OPTIONS}
    values.update(
        ss_session_id=os.getpid(),
        ss_training_started_at=started,
        ss_training_finished_at=time.time(),
        ss_steps=step,
        ss_epoch=epoch,
        ss_num_train_images=plan.images,
        ss_num_reg_images=plan.reg_images,
        ss_num_validation_images=0,
        ss_num_batches_per_epoch=plan.batches,
        ss_num_epochs=plan.epochs,
        ss_base_model_version="sdxl_base_v1-0",
        ss_optimizer=args.optimizer_type or "AdamW",
        ss_debiased_estimation=args.debiased_estimation_loss,
        ss_sd_model_name=os.path.basename(args.pretrained_model_name_or_path),
        ss_sd_scripts_commit_hash="(unknown)",
        ss_datasets=json.dumps(plan.described),
    )
    if args.network_args:
        values["ss_network_args"] = json.dumps(dict(part.partition("=")[::2] for part in args.network_args))
    texts = {key: str(value) for key, value in values.items()}
    if args.no_metadata:
        texts = {key: texts[key] for key in LORA_ONLY_MINIMUM if key in texts}
    return {**texts, **found}
