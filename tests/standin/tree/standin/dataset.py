"""The pictures that a run would train on, counted as sd-scripts counts them."""

from __future__ import annotations

import json
import math
import os
from typing import NamedTuple

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
EXTENSIONS = PICTURES + tuple(extension.upper() for extension in PICTURES)

OF_DATASET = {
    "batch_size", "resolution", "enable_bucket", "min_bucket_reso", "max_bucket_reso", "bucket_reso_steps",
    "bucket_no_upscale", "validation_split", "validation_seed", "network_multiplier", "resize_interpolation",
}  # fmt: skip
OF_SUBSET = {
    "num_repeats", "shuffle_caption", "caption_separator", "keep_tokens", "keep_tokens_separator",
    "secondary_separator", "enable_wildcard", "caption_prefix", "caption_suffix", "color_aug", "flip_aug",
    "random_crop", "face_crop_aug_range", "token_warmup_min", "token_warmup_step", "custom_attributes",
    "resize_interpolation", "caption_extension", "class_tokens", "cache_info", "caption_dropout_rate",
    "caption_dropout_every_n_epochs", "caption_tag_dropout_rate",
}  # fmt: skip
OF_SUBSET_ALONE = {"image_dir", "is_reg", "alpha_mask", "metadata_file"}


class MultipleInvalid(Exception):
    """Printed for a key that is not known."""


class Subset(NamedTuple):
    folder: str
    repeats: int
    is_reg: bool
    class_tokens: str | None
    pictures: int
    options: dict


class Dataset(NamedTuple):
    batch_size: int
    resolution: object
    subsets: list
    images: int
    """Pictures to train on, repeats included."""
    reg_images: int
    batches: int


def read(args) -> list:
    config = _load(args.dataset_config) if args.dataset_config else _from_folders(args)
    general = config.get("general", {})
    _check(config, {"general", "datasets"}, "")
    _check(general, OF_DATASET | OF_SUBSET, "['general']")
    datasets = []
    for number, dataset in enumerate(config.get("datasets", [])):
        _check(dataset, OF_DATASET | OF_SUBSET | {"subsets"}, f"['datasets'][{number}]")
        for index, subset in enumerate(dataset.get("subsets", [])):
            _check(subset, OF_SUBSET | OF_SUBSET_ALONE, f"['datasets'][{number}]['subsets'][{index}]")
        datasets.append(_dataset({**general, **dataset}, args))
    return datasets


def _load(path) -> dict:
    if not os.path.isfile(path):
        raise ValueError(f"file not found: {path}")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if str(path).lower().endswith(".json"):
        return json.loads(text)
    if not str(path).lower().endswith(".toml"):
        raise ValueError(f"not supported config file format: {path}")
    import tomllib  # Python 3.11 has it; on 3.10 the stand-in takes JSON alone

    return tomllib.loads(text)


def _check(mapping: dict, known: set, place: str) -> None:
    for key in mapping:
        if key not in known:
            raise MultipleInvalid(f"extra keys not allowed @ data{place}['{key}']")


def _from_folders(args) -> dict:
    subsets = []
    for parent, is_reg in ((args.train_data_dir, False), (args.reg_data_dir, True)):
        for name in sorted(os.listdir(parent)) if parent and os.path.isdir(parent) else []:
            repeats, _, tokens = name.partition("_")
            if os.path.isdir(os.path.join(parent, name)) and repeats.isdigit():
                folder = {"image_dir": os.path.join(parent, name), "num_repeats": int(repeats), "class_tokens": tokens}
                subsets.append({**folder, "is_reg": is_reg})
    return {"datasets": [{"subsets": subsets}]}


def _dataset(options: dict, args) -> Dataset:
    resolution = options.get("resolution", args.resolution)
    if resolution is None:
        raise AssertionError("resolution is required")
    steps = options.get("bucket_reso_steps", args.bucket_reso_steps)
    if options.get("enable_bucket", args.enable_bucket) and steps % 32 != 0:
        raise AssertionError(f"bucket_reso_steps is {steps}. it must be divisible by 32.")
    subsets = [_subset({**options, **subset}, args) for subset in options.get("subsets", [])]
    training = [subset for subset in subsets if not subset.is_reg]
    reg = [subset for subset in subsets if subset.is_reg]
    images = sum(subset.pictures * subset.repeats for subset in training)
    batch_size = options.get("batch_size", args.train_batch_size)
    return Dataset(
        batch_size,
        resolution,
        subsets,
        images,
        sum(subset.pictures * subset.repeats for subset in reg),
        math.ceil((images + _shown_reg(reg, images)) / batch_size),  # one bucket, whatever the pictures' shapes
    )


def _shown_reg(reg: list, images: int) -> int:
    """Regularisation pictures are dealt out again and again until there are as many as pictures to train on."""
    shown = 0
    once = [subset.repeats for subset in reg for _ in range(subset.pictures)]
    for repeats in once:
        if shown < images:
            shown += repeats
    return max(shown, images) if once else 0


def _subset(options: dict, args) -> Subset:
    folder = options.get("image_dir")
    if "metadata_file" in options:
        return _of_metadata(options, args)
    if not folder:
        raise AssertionError("image_dir must be specified")
    pictures = _pictures(folder)
    extension = options.get("caption_extension", args.caption_extension)
    for picture in pictures:
        _read_caption(os.path.join(folder, os.path.splitext(picture)[0] + extension))
    _check_caches(options, args)
    return Subset(
        folder,
        options.get("num_repeats", 1),
        options.get("is_reg", False),
        options.get("class_tokens"),
        len(pictures),
        options,
    )


def _of_metadata(options: dict, args) -> Subset:
    file = options["metadata_file"]
    with open(file, encoding="utf-8") as opened:
        listed = json.load(opened)
    _check_caches(options, args)
    return Subset(os.path.dirname(file), options.get("num_repeats", 1), False, None, len(listed), options)


def _pictures(folder: str) -> list:
    if not os.path.isdir(folder):
        return []
    return [name for name in sorted(os.listdir(folder)) if os.path.splitext(name)[1] in EXTENSIONS]


def _read_caption(path: str) -> None:
    if os.path.isfile(path):
        with open(path, encoding="utf-8") as file:
            if not file.read().strip():
                raise AssertionError(f"caption file is empty: {path}")


def _check_caches(options: dict, args) -> None:
    def on(name: str) -> bool:
        return bool(options.get(name, getattr(args, name)))

    if args.cache_latents and (on("color_aug") or on("random_crop")):
        raise AssertionError("when caching latents, either color_aug or random_crop cannot be used")
    refused = ("caption_dropout_rate", "shuffle_caption", "token_warmup_step", "caption_tag_dropout_rate")
    if args.cache_text_encoder_outputs and any(on(name) for name in refused):
        raise AssertionError("when caching Text Encoder output, these cannot be used: " + ", ".join(refused))
