"""Import a trained network's metadata (`ss_*`) as the options that made it. train_network.py writes it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from sdxl_train_cli import files
from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.importers import values
from sdxl_train_cli.importers.foreign_settings import (
    ForeignKey,
    ForeignSettings,
    became,
    computed,
    ignored,
    shown,
    unknown,
)
from sdxl_train_cli.sdscripts.checkpoint import Header
from sdxl_train_cli.sdscripts.optimizer import OWN_OPTIMIZERS, TORCH_OPTIMIZERS

FORMAT = "trained network"
_SAME_NAME = [
    "learning_rate", "unet_lr", "gradient_checkpointing", "gradient_accumulation_steps", "max_train_steps",
    "lr_warmup_steps", "lr_scheduler", "network_module", "network_dim", "network_alpha", "network_dropout",
    "mixed_precision", "full_fp16", "max_token_length", "cache_latents", "seed", "lowram", "noise_offset",
    "multires_noise_iterations", "multires_noise_discount", "adaptive_noise_scale", "zero_terminal_snr",
    "training_comment", "max_grad_norm", "caption_dropout_rate", "caption_dropout_every_n_epochs",
    "caption_tag_dropout_rate", "face_crop_aug_range", "prior_loss_weight", "min_snr_gamma",
    "scale_weight_norms", "ip_noise_gamma", "noise_offset_random_strength", "ip_noise_gamma_random_strength",
    "loss_type", "huber_schedule", "huber_scale", "huber_c", "fp8_base", "fp8_base_unet", "validation_seed",
    "validation_split", "max_validation_steps", "validate_every_n_epochs", "validate_every_n_steps",
    "resize_interpolation", "resolution", "color_aug", "flip_aug", "random_crop", "shuffle_caption",
    "enable_bucket", "bucket_no_upscale", "min_bucket_reso", "max_bucket_reso", "keep_tokens",
    "text_encoder_lr", "clip_skip"
]  # fmt: skip
_OPTIONS: Mapping[str, str] = {
    **{f"ss_{option}": option for option in _SAME_NAME},
    "ss_debiased_estimation": "debiased_estimation_loss",
    "ss_batch_size_per_device": "train_batch_size",
}
_SHARED = frozenset({"resolution", "enable_bucket", "min_bucket_reso", "max_bucket_reso", "resize_interpolation"})
_OF_A_SUBSET = frozenset(
    [
        "color_aug", "flip_aug", "random_crop", "shuffle_caption", "keep_tokens", "keep_tokens_separator",
        "secondary_separator", "enable_wildcard", "resize_interpolation"
    ]
)  # fmt: skip
_OF_THE_RUN = frozenset(
    [
        "session_id", "training_started_at", "training_finished_at", "output_name", "num_train_images",
        "num_validation_images", "num_reg_images", "num_batches_per_epoch", "num_epochs", "epoch", "steps",
        "total_batch_size", "sd_model_name", "sd_model_hash", "new_sd_model_hash", "vae_name", "vae_hash",
        "new_vae_hash", "dataset_dirs", "reg_dataset_dirs", "bucket_info"
    ]
)  # fmt: skip
_REASONS = "belongs to the run and its pictures, not to the preset"
_OPTIMIZER = re.compile(r"(?P<name>[\w.]+)(?:\((?P<arguments>.*)\))?", re.DOTALL)
_NAMES = {name.lower(): name for name in (*TORCH_OPTIMIZERS,)} | {name: name for name in OWN_OPTIMIZERS}
_MOST_KEYS = 1000
_DEEPEST_JSON = 4 * 1024 * 1024


def read(header: Header, where: str) -> ForeignSettings:
    """The recorded options. RecipeError if there are none, or if they are not for SDXL."""
    record = {key: text for key, text in header.metadata.items() if key.startswith("ss_")}
    if not record:
        raise RecipeError(Problem("holds no record of its training", "ask its author for the settings", where))
    if len(record) > _MOST_KEYS:
        raise RecipeError(Problem(f"holds over {_MOST_KEYS:,} keys, more than any training record has", where=where))
    base = record.get("ss_base_model_version", "")
    if values.switch(record.get("ss_v2")) or (base and not base.startswith("sdxl")):
        raise RecipeError(
            Problem(f"is for {shown(base) or 'Stable Diffusion 2'}, not for SDXL", "import an SDXL network", where)
        )
    if not base and not any(
        "text_model_encoder" not in name and name.startswith(("lora_te1_", "lora_te2_")) for name in header.shapes
    ):
        known = record.get("ss_network_module")
        if known is None:
            raise RecipeError(
                Problem("does not say what it was trained with", "ask its author for the settings", where)
            )
    entries: list[ForeignKey] = []
    for key, text in record.items():
        entries += _arguments(key, text, record) if key == "ss_network_args" else _entries(key, text)
    entries += _trained_parts(header)
    return ForeignSettings(FORMAT, full=False, entries=tuple(entries), whole=False, facts=tuple(_facts(record)))


def _entries(key: str, text: str) -> Iterator[ForeignKey]:
    name = key.removeprefix("ss_")
    if key == "ss_optimizer":
        yield from _optimizer(key, text)
    elif key == "ss_datasets":
        yield from _datasets(key, text)
    elif key == "ss_tag_frequency":
        yield ignored(key, _tags(text), _REASONS)
    elif key in {"ss_v2", "ss_base_model_version"}:
        yield ignored(key, text, "says that it is for SDXL")
    elif key == "ss_sd_scripts_commit_hash":
        yield ignored(key, text, "the trainer's version is a comment in the preset")
    elif name in _OF_THE_RUN:
        yield ignored(key, text, _REASONS)
    elif key in _OPTIONS:
        yield _option(key, _OPTIONS[key], text)
    else:
        yield unknown(key, text, "sd-scripts v0.10.1 does not record this key")


def _option(key: str, option: str, text: str) -> ForeignKey:
    raw = None if text in {"None", ""} else text
    if option == "text_encoder_lr" and isinstance(raw, str):
        raw = " ".join(raw.strip("[]() ").replace(",", " ").split())
    if option == "resolution" and isinstance(raw, str):
        raw = raw.strip("()[] ").replace(" ", "")
    if option == "network_dim" and raw == "Dynamic":
        return unknown(key, text, "the file was resized: its layers have different dims")
    try:
        value = values.convert(raw, option)
    except ValueError as error:
        return unknown(key, text, str(error))
    return became(key, text, option, value if value is not False else None)


def _optimizer(key: str, text: str) -> Iterator[ForeignKey]:
    match = _OPTIMIZER.fullmatch(text.strip())
    if match is None:
        yield unknown(key, text, "is not the name of an optimizer")
        return
    full = match["name"]
    last = full.rpartition(".")[2]
    known = _NAMES.get(last.lower())
    name = last if known is not None else full
    note = "" if known is not None else f"missing: the package {full.partition('.')[0]} is not installed by setup"
    yield computed(key, text, "optimizer_type", name, note or "by its class")
    words = _split_arguments(match["arguments"] or "")
    try:
        yield computed(key, text, "optimizer_args", values.convert(words, "optimizer_args"), "by its arguments")
    except ValueError as error:
        yield unknown(key, text, str(error))


def _split_arguments(text: str) -> list[str]:
    """Split `a=1,betas=(0.9, 0.99)` at commas outside of brackets."""
    parts, depth = [""], 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip().replace(" ", "") for part in parts if part.strip()]


def _arguments(key: str, text: str, record: Mapping[str, str]) -> Iterator[ForeignKey]:
    """The network's arguments. sd-scripts adds network_dropout to them, which is an option of its own."""
    found = _json(text)
    if not isinstance(found, dict):
        yield unknown(key, text, "is not a mapping")
        return
    added = ("dropout", record.get("ss_network_dropout"))
    plain = {name: value for name, value in found.items() if not isinstance(value, dict | list)}
    words = [f"{name}={value}" for name, value in plain.items() if (name, str(value)) != added]
    try:
        yield became(key, text, "network_args", values.convert(words, "network_args"))
    except ValueError as error:
        yield unknown(key, text, str(error))


def _datasets(key: str, text: str) -> Iterator[ForeignKey]:
    """Values common to all datasets and subsets. A single folder of pictures is one of each."""
    found = _json(text)
    datasets = [part for part in found if isinstance(part, dict)] if isinstance(found, list) else []
    if not datasets:
        yield unknown(key, text, "holds no datasets")
        return
    subsets = [part for dataset in datasets for part in _list(dataset.get("subsets")) if isinstance(part, dict)]
    yield from _agreed(key, datasets, _SHARED)
    yield from _agreed(key, subsets, _OF_A_SUBSET)
    sizes = {json.dumps(dataset.get("batch_size_per_device")) for dataset in datasets}
    if len(sizes) == 1:
        yield _option(f"{key}.batch_size_per_device", "train_batch_size", sizes.pop())


def _list(raw: object) -> list[object]:
    return raw if isinstance(raw, list) else []


def _agreed(key: str, parts: list[dict[str, object]], options: frozenset[str]) -> Iterator[ForeignKey]:
    for option in sorted(options):
        given = {json.dumps(part.get(option)) for part in parts if option in part}
        if len(given) > 1:
            yield ignored(
                f"{key}.{option}", ", ".join(sorted(given)), "the datasets differ in it, and a preset has one value"
            )
        elif given:
            raw = json.loads(given.pop())
            text = ",".join(map(str, raw)) if isinstance(raw, list) else "" if raw is None else str(raw)
            yield _option(f"{key}.{option}", option, text)


def _trained_parts(header: Header) -> Iterator[ForeignKey]:
    """Which parts were trained. The metadata does not say, but the tensors do."""
    has_text = any(name.startswith(("lora_te", "lycoris_te")) for name in header.shapes)
    has_unet = any(name.startswith(("lora_unet_", "lycoris_unet_")) for name in header.shapes)
    if has_unet and not has_text:
        yield computed("(tensors)", "U-Net", "network_train_unet_only", True, "the file holds no text encoder")
    elif has_text:
        yield computed("(tensors)", "text encoders", "network_train_unet_only", None, "the file holds text encoders")
        yield computed("(tensors)", "text encoders", "cache_text_encoder_outputs", None, "they were trained")
        if not has_unet:
            yield computed(
                "(tensors)", "text encoders", "network_train_text_encoder_only", True, "the file holds no U-Net"
            )


def _tags(text: str) -> str:
    found = _json(text)
    folders = [part for part in found.values() if isinstance(part, dict)] if isinstance(found, dict) else []
    return f"{len({tag for folder in folders for tag in folder})} different tags"


def _facts(record: Mapping[str, str]) -> Iterator[str]:
    commit = record.get("ss_sd_scripts_commit_hash", "")
    if re.fullmatch(r"[0-9a-f]{7,40}", commit):
        yield f"trained by sd-scripts {commit}"
    if "ss_tag_frequency" in record:
        yield f"its captions had {_tags(record['ss_tag_frequency'])}"


def _json(text: str) -> object:
    if len(text) > _DEEPEST_JSON:
        return None
    try:
        return files.parse_json(text)
    except ValueError:
        return None
