"""What a model file is, told from its safetensors header alone: no tensor is read and no pickle is ever loaded."""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli.errors import ModelError

SDXL_BASE = "stabilityai/stable-diffusion-xl-base-1.0"
LARGEST_HEADER = 100_000_000
"""Bytes: the limit of the safetensors format itself."""

_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
_FILE_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".sft")


@dataclass(frozen=True)
class Header:
    """The front matter of a safetensors file."""

    shapes: Mapping[str, tuple[int, ...]]
    """Tensor names and their shapes."""
    metadata: Mapping[str, str]
    """The file's own words, for a trained network its `ss_*` record."""

    def has(self, prefix: str) -> bool:
        """Whether any tensor's name begins so."""
        return any(name.startswith(prefix) for name in self.shapes)


def read_header(path: Path) -> Header:
    """Read and check a safetensors header; ModelError where the file is no whole safetensors file."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else LARGEST_HEADER + 1  # noqa: PLR2004
            text = file.read(length) if length <= min(LARGEST_HEADER, size) else b""
        entries = json.loads(text)
        metadata = {str(key): str(value) for key, value in entries.pop("__metadata__", {}).items()}
        shapes = {name: tuple(entry["shape"]) for name, entry in entries.items()}
        end = 8 + length + max((entry["data_offsets"][1] for entry in entries.values()), default=0)
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path} is not a safetensors file, or its download is broken", "download it again") from error
    if size < end:
        raise ModelError(
            f"{path} is cut off: {size:,} bytes of {end:,}", "its download did not finish: download it again"
        )
    return Header(shapes, metadata)


_NOT_SDXL = (
    # a tensor's name begins with, what the file is, what to do
    ("lora_", "a LoRA, not a base model", "give --model the SDXL checkpoint that the LoRA was made for"),
    ("lycoris_", "a LyCORIS network, not a base model", "give --model an SDXL checkpoint"),
    ("conditioner.embedders.0.model.", "the SDXL refiner, which sd-scripts does not train", "take the SDXL base model"),
    ("cond_stage_model.transformer.", "an SD 1.x model", "give --model an SDXL checkpoint"),
    ("cond_stage_model.model.", "an SD 2.x model", "give --model an SDXL checkpoint"),
    ("model.diffusion_model.joint_blocks.", "an SD3 model", "give --model an SDXL checkpoint"),
    ("joint_blocks.", "an SD3 model", "give --model an SDXL checkpoint"),
    ("model.diffusion_model.double_blocks.", "a Flux model", "give --model an SDXL checkpoint"),
    ("double_blocks.", "a Flux model", "give --model an SDXL checkpoint"),
    ("down_blocks.", "a diffusers U-Net or VAE alone", "give --model its whole diffusers folder, or a checkpoint file"),
    ("encoder.", "a VAE alone", "that is for --vae; give --model an SDXL checkpoint"),
)  # fmt: skip
_SDXL_PARTS = (
    ("model.diffusion_model.", "U-Net"),
    ("conditioner.embedders.0.transformer.", "first text encoder"),
    ("conditioner.embedders.1.model.", "second text encoder"),
    ("first_stage_model.", "VAE"),
)


def require_sdxl(model: str) -> str:
    """Check that `model` is an SDXL checkpoint file, a diffusers folder or a hub id; give it as sd-scripts takes it.

    A file's links are followed: sd-scripts takes a relative link for a hub id.
    """
    path = Path(model).expanduser()
    if path.is_file():
        if path.suffix.lower() in {".safetensors", ".sft"}:
            _require_parts(path)
        elif path.suffix.lower() != ".ckpt":
            raise ModelError(f"{path} is neither .safetensors nor .ckpt", "sd-scripts reads no other checkpoint file")
        return os.path.realpath(path)
    if path.is_dir():
        _require_diffusers(path)
        return os.path.realpath(path)
    if is_hub_id(model):
        return model
    raise ModelError(
        f"no model at {path}", f"give --model a .safetensors file, a diffusers folder or a hub id such as {SDXL_BASE}"
    )


def is_hub_id(model: str) -> bool:
    """Whether the text has the form of a Hugging Face id and no such path is there."""
    return bool(_HUB_ID.fullmatch(model)) and not model.lower().endswith(_FILE_SUFFIXES) and not Path(model).exists()


def _require_parts(path: Path) -> None:
    header = read_header(path)
    missing = [part for prefix, part in _SDXL_PARTS if not header.has(prefix)]
    if not missing:
        return
    for prefix, what, hint in _NOT_SDXL:
        if header.has(prefix):
            raise ModelError(f"{path} is {what}", hint)
    raise ModelError(
        f"{path} is not a whole SDXL checkpoint: it has no {' and no '.join(missing)}",
        "give --model an SDXL checkpoint",
    )


def _require_diffusers(folder: Path) -> None:
    index = folder / "model_index.json"
    try:
        pipeline = json.loads(index.read_text(encoding="utf-8")).get("_class_name", "")
    except OSError as error:
        raise ModelError(
            f"{folder} is not a diffusers folder: it has no model_index.json", "give --model the checkpoint file itself"
        ) from error
    except (ValueError, AttributeError) as error:
        raise ModelError(f"{index} is broken", "download the model again") from error
    if not str(pipeline).startswith("StableDiffusionXL"):
        raise ModelError(f"{folder} holds a {pipeline or 'nameless pipeline'}, not SDXL", "give --model an SDXL model")
    missing = [part for part in ("unet", "text_encoder", "text_encoder_2", "vae") if not (folder / part).is_dir()]
    if missing:
        raise ModelError(f"{folder} is incomplete: no folder {', '.join(missing)}", "download the model again")


def require_vae(vae: str) -> str:
    """Check that `vae` is a file, a folder or a hub id, and no SDXL checkpoint by mistake."""
    path = Path(vae).expanduser()
    if path.is_file() and path.suffix.lower() in {".safetensors", ".sft"}:
        header = read_header(path)
        if not any(header.has(prefix) for prefix in ("encoder.", "first_stage_model.", "vae.")):
            raise ModelError(f"{path} is not a VAE", "leave --vae away to use the model's own")
    if path.exists():
        return os.path.realpath(path)
    if is_hub_id(vae):
        return vae
    raise ModelError(f"no VAE at {path}", "leave --vae away to use the model's own")
