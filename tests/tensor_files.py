"""Safetensors files with real numbers in them, made with numpy."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

_STORED = {"F32": "<f4", "F16": "<f2", "F64": "<f8"}


def write(path: Path, tensors: Mapping[str, np.ndarray], dtype: str = "F16", **metadata: str) -> Path:
    """Write arrays in a precision."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    content = b""
    for name, values in tensors.items():
        stored = _bfloat(values) if dtype == "BF16" else values.astype(_STORED[dtype]).tobytes()
        header[name] = {
            "dtype": dtype,
            "shape": list(values.shape),
            "data_offsets": [len(content), len(content) + len(stored)],
        }
        content += stored
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)
    return path


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """Numbers as they are once they were stored in a precision."""
    if dtype == "BF16":
        return (np.frombuffer(_bfloat(values), "<u2").astype("<u4") << 16).view("<f4").reshape(values.shape)
    return values.astype(_STORED[dtype]).astype("<f4")


def _bfloat(values: np.ndarray) -> bytes:
    bits = values.astype("<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()


def numbers(*shape: int, seed: int = 7) -> np.ndarray:
    """Small numbers that are the same each time."""
    return np.random.default_rng(seed).normal(0, 0.02, shape).astype("f4")


UNET = ("input_blocks_4_1_transformer_blocks_0_attn1_to_q", "middle_block_1_transformer_blocks_9_attn1_to_k",
        "output_blocks_5_1_transformer_blocks_1_attn2_to_v")  # fmt: skip


def lora(
    *, up: float = 1.0, modules: tuple[str, ...] = UNET, prefix: str = "lora_unet_", alpha: float | None = 2.0
) -> dict[str, np.ndarray]:
    """A LoRA of rank 4; `up` multiplies what starts at zero."""
    tensors = {}
    for seed, module in enumerate(modules):
        name = f"{prefix}{module}"
        tensors[f"{name}.lora_down.weight"] = numbers(4, 16, seed=seed)
        tensors[f"{name}.lora_up.weight"] = up * numbers(8, 4, seed=seed + 50)
        if alpha is not None:
            tensors[f"{name}.alpha"] = np.array(alpha)
    return tensors


PARTS = {
    "model.diffusion_model.input_blocks.0.0.weight": (8, 4, 3, 3),
    "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_q.weight": (16, 16),
    "model.diffusion_model.middle_block.1.transformer_blocks.3.attn2.to_k.weight": (16, 32),
    "model.diffusion_model.output_blocks.3.0.in_layers.2.weight": (8, 8, 3, 3),
    "conditioner.embedders.0.transformer.text_model.encoder.layers.0.mlp.fc1.weight": (16, 8),
    "conditioner.embedders.1.model.transformer.resblocks.0.mlp.c_fc.weight": (16, 8),
    "first_stage_model.decoder.conv_in.weight": (4, 4, 3, 3),
}


def checkpoint(*, moved: float = 0.0, part: str = "") -> dict[str, np.ndarray]:
    """A small whole SDXL, of which the weights of a part have moved."""
    tensors = {name: numbers(*shape, seed=seed) for seed, (name, shape) in enumerate(PARTS.items())}
    return {name: values + moved * name.startswith(part) for name, values in tensors.items()}
