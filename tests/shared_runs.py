"""Runs with trained files and pictures in them, made by hand, to be shared."""

from __future__ import annotations

from pathlib import Path

import kept_runs
import tensor_files
from PIL import Image

PROMPTS = (
    "ohwx cat, garden, best quality --w 64 --h 96 --d 1000 --s 24 --l 6 --n lowres, blurry",
    "ohwx cat --w 64 --h 96 --d 1001 --s 24 --l 6 --n lowres, blurry",
)
SETTINGS: dict[str, object] = {
    "learning_rate": {"value": 0.0001, "origin": "dim32.yaml:9"},
    "network_dim": {"value": 4, "origin": "dim32.yaml:4"},
    "network_args": {"value": ["conv_dim=4"], "origin": "--set"},
    "resolution": {"value": "1024,1024", "origin": "_base.yaml"},
    "sample_prompts": {"value": "/x/prompts.txt", "origin": "the samples"},
    "sample_sampler": {"value": "euler_a", "origin": "the samples"},
}
INPUTS: dict[str, object] = {
    "preset": "dim32", "model": "/models/sd_xl_base_1.0.safetensors", "data": "/data/cats", "output": "/data/output",
    "trigger": "ohwx cat",
}  # fmt: skip
METADATA = {
    "ss_base_model_version": "sdxl_base_v1-0", "ss_network_module": "networks.lora", "ss_network_dim": "4",
    "ss_network_alpha": "2", "ss_steps": "6", "ss_epoch": "2", "ss_output_name": "cat",
    "ss_tag_frequency": '{"10_cat": {"ohwx cat": 3, "garden": 2}}', "ss_session_id": "7",
    "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
}  # fmt: skip
EXAMINED = {"file": "cat.safetensors", "step": 6, "summary": "learned: 3 of 3 U-Net modules changed"}
DATASET = {"fingerprint": "f" * 64, "folders": [{"path": "/data/cats/10_cat", "pictures": 3, "repeats": 10}]}


def lora(path: Path, **metadata: str) -> Path:
    """A small SDXL LoRA as sd-scripts writes one."""
    tensors = tensor_files.lora(prefix="lora_unet_")
    return tensor_files.write(path, tensors, **{**METADATA, **metadata})


def keep(folder: Path, *, settings: dict[str, object] | None = None, inputs: dict[str, object] | None = None) -> Path:
    """A run that is done, with a checkpoint, its result, and two samples at each of two moments."""
    outcome = {"outcome": "done", "steps": 6, "seconds": 60.0, "loss": 0.1, "examined": [EXAMINED]}
    kept_runs.keep(
        folder, outcome, settings={**SETTINGS, **(settings or {})}, inputs={**INPUTS, **(inputs or {})},
        dataset=DATASET,
    )  # fmt: skip
    (folder / "prompts.txt").write_text("\n".join(PROMPTS) + "\n", encoding="utf-8")
    lora(folder / f"{folder.name}.safetensors")
    lora(folder / f"{folder.name}-step00000003.safetensors", ss_steps="3")
    (folder / "sample").mkdir()
    for step, moment in ((3, "20260102100100"), (6, "20260102100200")):
        for number in range(len(PROMPTS)):
            name = f"{folder.name}_{step:06}_{number:02}_{moment}_{1000 + number}.png"
            Image.effect_noise((64, 96), 40 + 10 * number + step).save(folder / "sample" / name)
    return folder
