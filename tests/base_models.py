"""Bases as they are found: the front matter of real files, in a few bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from conftest import SDXL_TENSORS

PARTS = ("unet", "text_encoder", "text_encoder_2", "vae", "tokenizer", "tokenizer_2", "scheduler")
EULER = {"_class_name": "EulerDiscreteScheduler", "prediction_type": "epsilon", "timestep_spacing": "leading"}


def write_base(
    path: Path, signs: Sequence[str] = (), metadata: Mapping[str, str] | None = None, channels: int = 4
) -> Path:
    """Write an SDXL checkpoint with a first layer of true shape, and empty tensors by which it is known."""
    first, *others = SDXL_TENSORS
    size = 2 * 320 * channels * 9
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    header[first] = {"dtype": "F16", "shape": [320, channels, 3, 3], "data_offsets": [0, size]}
    for number, name in enumerate(others):
        header[name] = {"dtype": "F16", "shape": [1], "data_offsets": [size + 2 * number, size + 2 * number + 2]}
    end = size + 2 * len(others)
    for name in signs:
        is_number = name.startswith("edm")  # those hold a figure
        header[name] = {"dtype": "F32", "shape": [] if is_number else [0], "data_offsets": [end, end + 4 * is_number]}
        end += 4 * is_number
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))
    return path


def write_folder(folder: Path, scheduler: Mapping[str, object], channels: int = 4) -> Path:
    """Write a diffusers folder with this scheduler."""
    for part in PARTS:
        (folder / part).mkdir(parents=True)
    index = {"_class_name": "StableDiffusionXLPipeline"}
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler), encoding="utf-8")
    size = 2 * 320 * channels * 9
    layer = {"conv_in.weight": {"dtype": "F16", "shape": [320, channels, 3, 3], "data_offsets": [0, size]}}
    text = json.dumps(layer).encode()
    for part in PARTS[:4]:
        weights = folder / part / "diffusion_pytorch_model.safetensors"
        weights.write_bytes(struct.pack("<Q", len(text)) + text + bytes(size))
    return folder
