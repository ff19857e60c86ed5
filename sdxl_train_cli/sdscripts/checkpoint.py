"""Identify a model file by its safetensors header alone. Reads no tensor and never loads a pickle."""

from __future__ import annotations

import os
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdxl_train_cli import files, formatting, handed_file, layout
from sdxl_train_cli.errors import ModelError
from sdxl_train_cli.sdscripts import pickles

SDXL_BASE = "stabilityai/stable-diffusion-xl-base-1.0"
LARGEST_HEADER = 100_000_000
"""Limit in bytes, as defined by the format. The captions of a large dataset can take tens of MB."""
_MOST_NAMES, _MOST_LISTS = 200_000, 2_000_000
"""Header limits. SDXL has 2,515 names; a hostile file could expand many short ones to a GB of memory."""

_LARGEST_INDEX = 1 << 20

_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
_ARCHIVE, _OLD_PICKLE = b"PK\3\4", b"\x80"
"""How a file begins that torch wrote: since 1.6, and before."""
_FILE_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".sft")


@dataclass(frozen=True)
class Header:
    """The header of a safetensors file."""

    shapes: Mapping[str, tuple[int, ...]]
    """Shapes by tensor name."""
    metadata: Mapping[str, str]
    """The file's metadata, for a trained network its `ss_*` entries."""
    places: Mapping[str, tuple[str, int, int]] = field(default_factory=dict)
    """Type, first byte in the file and length of each tensor."""

    @property
    def dtypes(self) -> frozenset[str]:
        """The tensors' types, by the names of the format: `F16`, `BF16`."""
        return frozenset(dtype for dtype, _start, _length in self.places.values())

    def has(self, prefix: str) -> bool:
        """Whether any tensor name has this prefix."""
        return any(name.startswith(prefix) for name in self.shapes)


def read_header(path: Path) -> Header:
    """Read and validate a safetensors header. ModelError if the file is not a complete safetensors file."""
    try:
        with files.open_plain(path) as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else LARGEST_HEADER + 1  # noqa: PLR2004
            text = file.read(length) if length <= min(LARGEST_HEADER, size) else b""
        _require_few(text)
        entries = files.parse_json(text.decode("utf-8"), object_pairs_hook=files.reject_duplicate_keys)
        if not isinstance(entries, dict):
            raise TypeError(text)  # noqa: TRY301 - like every other problem of the file
        metadata = {str(key): str(value) for key, value in entries.pop("__metadata__", {}).items()}
        shapes = {name: tuple(map(_side, entry["shape"])) for name, entry in entries.items()}
        places = {name: _place(entry, 8 + length) for name, entry in entries.items()}
        end = 8 + length + max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        what, hint = _instead(start)
        raise ModelError(f"{path} {what}", hint) from error
    if size < end:
        raise ModelError(
            f"{path} is cut off: {size:,} bytes of {end:,}", "its download did not finish: download it again"
        )
    if size > end:
        raise ModelError(f"{path} has {size - end:,} bytes too many: its download is broken", "download it again")
    return Header(shapes, metadata, places)


def has_whole_size(path: Path) -> bool:
    """Whether a file is as long as its header says. Tells nothing else of it, in a tenth of `read_header`'s time."""
    try:
        size, text = _header_text(path)
    except OSError:
        return False
    is_object = text.startswith(b"{") and text.rstrip().endswith(b"}")
    ends = map(int, _END.findall(text)) if is_object else ()
    return size == 8 + len(text) + max(ends, default=-1)


def find_number(path: Path, key: str) -> int | None:
    """A whole number in a file's metadata, found without reading the rest of the header. None if it is not there."""
    try:
        _, text = _header_text(path)
    except OSError:
        return None
    found = re.search(rb'"%s":\s*"(\d{1,18})"' % re.escape(key.encode()), text)
    return None if found is None else int(found[1])


def _header_text(path: Path) -> tuple[int, bytes]:
    """A file's size, and its header, unread. Empty if it has none."""
    with files.open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size  # noqa: PLR2004
        return size, file.read(length) if length <= min(LARGEST_HEADER, size) else b""


_END = re.compile(rb'"data_offsets":\s*\[\s*\d{1,18},\s*(\d{1,18})\s*\]')
"""The byte after a tensor. Within a text its quotes would be escaped, so that no metadata looks like it."""


def _require_few(text: bytes) -> None:
    """ValueError for a header with more names and lists than any model has. Long texts are single, small values."""
    names = text.count(b'":') - text.count(b'\\":')  # those inside strings are escaped
    if names > _MOST_NAMES or text.count(b"[") > _MOST_LISTS:
        raise ValueError("too many names or lists")


def _place(entry: Mapping[str, Any], data: int) -> tuple[str, int, int]:
    first, last = map(int, entry["data_offsets"])
    return str(entry["dtype"]), data + first, last - first


def _side(side: object) -> int:
    if not isinstance(side, int) or side < 0:
        raise ValueError("a size that is not a number")
    return side


def _instead(start: bytes) -> tuple[str, str]:
    """What a file is, judging by its first 8 bytes, if it is not safetensors, and what to do about it."""
    if start == b"version ":
        return "is a Git LFS pointer: the file that it stands for was not fetched", "in its folder: git lfs pull"
    if start.lstrip()[:1] in {b"<", b"{"}:
        return "is a web page, not a model", "the download may need a login: fetch it in a browser"
    if start.startswith(b"PK"):
        return "is a zip or a .ckpt by another name", "a .ckpt has to have that suffix"
    return "is not a safetensors file, or its download is broken", "download it again"


_ANOTHER = "give --model an SDXL checkpoint"
_NOT_SDXL = (
    # a tensor's name begins with, what the file is, what to do
    ("lora_", "a LoRA, not a base model", "give --model the SDXL checkpoint that the LoRA was made for"),
    ("lycoris_", "a LyCORIS network, not a base model", _ANOTHER),
    ("conditioner.embedders.0.model.", "the SDXL refiner, which sd-scripts does not train", "use the SDXL base model"),
    ("cond_stage_model.transformer.", "an SD 1.x model", _ANOTHER),
    ("cond_stage_model.model.", "an SD 2.x model", _ANOTHER),
    ("model.diffusion_model.joint_blocks.", "an SD3 model", _ANOTHER),
    ("joint_blocks.", "an SD3 model", _ANOTHER),
    ("model.diffusion_model.double_blocks.", "a Flux model", _ANOTHER),
    ("double_blocks.", "a Flux model", _ANOTHER),
    ("down_blocks.", "a diffusers U-Net or VAE alone", "give --model its whole diffusers folder, or a checkpoint file"),
    ("input_blocks.", "a U-Net alone", _ANOTHER),
    ("text_model.", "a text encoder alone", _ANOTHER),
    ("encoder.", "only a VAE", "that is for --vae; give --model an SDXL checkpoint"),
    ("unet.", "a LoRA in diffusers' form", _ANOTHER),
    ("control_model.", "a ControlNet", _ANOTHER),
)  # fmt: skip
PARTS = (
    ("model.diffusion_model.", "U-Net"),
    ("conditioner.embedders.0.transformer.", "first text encoder"),
    ("conditioner.embedders.1.model.", "second text encoder"),
    ("first_stage_model.", "VAE"),
)
"""Of a whole SDXL model: how the names of its tensors begin, and what it is."""
COMPILED = "_orig_mod"
"""What torch.compile puts into a module's name."""


_FIRST_LAYER = "model.diffusion_model.input_blocks.0.0.weight"
_DIFFUSERS_PARTS = ("unet", "text_encoder", "text_encoder_2", "vae", "tokenizer_2", "scheduler")
_WITH_WEIGHTS = _DIFFUSERS_PARTS[:4]


def require_sdxl(model: str, *, inpainting: bool = False) -> str:
    """Check that `model` is an SDXL checkpoint, diffusers folder or hub ID. Returns the form sd-scripts accepts.

    With `inpainting` (v0.11's train_inpainting), a checkpoint may be an inpainting model.
    """
    path = layout.expand(Path(model))
    _require_model(path, "checkpoint network pickle web_page", "a base model")
    if files.is_file(path):
        if path.suffix.lower() == ".safetensors":
            _require_parts(path, inpainting=inpainting)
            return _as_opened(path)
        if path.suffix.lower() != ".ckpt":
            hint = "rename it to .safetensors" if path.suffix.lower() == ".sft" else "sd-scripts reads no other file"
            raise ModelError(f"{path} is neither .safetensors nor .ckpt", hint)
        _require_pickle(path)
        _require_pickled_parts(path)
        return os.path.realpath(path)
    if files.is_folder(path):
        _require_diffusers(path)
        return os.path.realpath(path)
    if "://" in model:
        raise ModelError(f"{model} is an address", f"download the file, or give a hub id such as {SDXL_BASE}")
    near = files.is_folder(path.parent)
    if is_hub_id(model) and (model == SDXL_BASE or not near):
        return model
    there = sorted(file.name for file in path.parent.glob("*") if file.suffix.lower() in _FILE_SUFFIXES) if near else []
    raise ModelError(
        f"no model at {model}",
        f"its folder has {', '.join(there)}"
        if there
        else f"give --model a .safetensors file, a diffusers folder or a hub id such as {SDXL_BASE}",
    )


def takes_masks(model: str) -> bool | None:
    """Whether the U-Net of a .safetensors file has input for a mask and what it hides; None of anything else."""
    path = layout.expand(Path(model))
    if not files.is_file(path) or path.suffix.lower() != ".safetensors":
        return None
    return _takes_masks(read_header(path))


def _takes_masks(header: Header) -> bool:
    return header.shapes.get(_FIRST_LAYER, ())[1:2] == (9,)


def _as_opened(path: Path) -> str:
    """The path to pass to sd-scripts, which resolves one link and decides by the suffix.

    In the hub's cache, `model.safetensors` is a link to a file named by its checksum.
    """
    real = os.path.realpath(path)
    if real.lower().endswith(".safetensors"):
        return real
    if path.is_symlink() and path.readlink().is_absolute() and path.readlink().suffix.lower() == ".safetensors":
        return str(path)
    raise ModelError(
        f"{path} is a link to a file without the suffix .safetensors, which sd-scripts can't load",
        f"a link to the link works: ln -s {formatting.shell_word(path)} base.safetensors,"
        " then --model base.safetensors",
    )


def is_hub_id(model: str) -> bool:
    """Whether the text looks like a Hugging Face ID and no such path exists."""
    return bool(_HUB_ID.fullmatch(model)) and not model.lower().endswith(_FILE_SUFFIXES) and not files.exists(model)


def name_other(header: Header) -> str | None:
    """What a file is that is not a whole SDXL checkpoint. None if it is one, or if nothing is known of it."""
    if not missing_parts(header):
        return None
    return next((what for prefix, what, _ in _NOT_SDXL if header.has(prefix)), None)


def missing_parts(header: Header) -> tuple[str, ...]:
    """The parts of a whole SDXL checkpoint that a file has not got."""
    return tuple(part for prefix, part in PARTS if not header.has(prefix))


def _require_pickled_parts(path: Path) -> None:
    """The same of a .ckpt, by the names in it. One whose names can't be read is left to sd-scripts."""
    names = pickles.texts(path)
    found = Header(dict.fromkeys(names, ()), {})
    _require_own_names(found, path)
    if found.has(PARTS[0][0]) or any(found.has(prefix) for prefix, _, _ in _NOT_SDXL):
        _require_names(found, path)


def _require_parts(path: Path, *, inpainting: bool) -> None:
    header = read_header(path)
    _require_own_names(header, path)
    missing = missing_parts(header)
    if not missing:
        if _takes_masks(header) and not inpainting:
            words = "an SDXL inpainting model, which sd-scripts trains only from v0.11 on, with train_inpainting"
            raise ModelError(f"{path} is {words}", f"--set train_inpainting=true --set cache_latents=false\n{_ANOTHER}")
        return
    _require_names(header, path)


def _require_own_names(header: Header, path: Path) -> None:
    """ModelError for what sd-scripts saved of a compiled model: it does not load these names itself."""
    compiled = next((name for name in header.shapes if f".{COMPILED}." in name), None)
    if compiled is not None:
        raise ModelError(
            f"{path} was trained with torch_compile, and nothing reads its names, such as {compiled}",
            f"{_ANOTHER}, or train it again with --set torch_compile=false",
        )


def _require_names(header: Header, path: Path) -> None:
    missing = missing_parts(header)
    if not missing:
        return
    for prefix, what, hint in _NOT_SDXL:
        if header.has(prefix):
            raise ModelError(f"{path} is {what}", hint)
    raise ModelError(
        f"{path} is not a whole SDXL checkpoint: it has no {' and no '.join(missing)}",
        _ANOTHER,
    )


def _require_pickle(path: Path) -> None:
    """ModelError for a .ckpt that torch did not write, or that is cut off. Nothing is loaded."""
    try:
        with files.open_plain(path) as file:
            start = file.read(len(_ARCHIVE))
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}", "check its permissions") from error
    if start == _ARCHIVE and not zipfile.is_zipfile(path):
        raise ModelError(f"{path} is cut off", "download the model again")
    if start != _ARCHIVE and not start.startswith(_OLD_PICKLE):
        raise ModelError(f"{path} is no checkpoint: torch did not write it", "download the model again")


def _require_diffusers(folder: Path) -> None:
    index = folder / "model_index.json"
    try:
        pipeline = _pipeline(index)
    except OSError as error:
        raise ModelError(
            f"{folder} is not a diffusers folder: it has no model_index.json", "give --model the checkpoint file itself"
        ) from error
    except ValueError as error:
        raise ModelError(f"{index} is broken", "download the model again") from error
    if not str(pipeline).startswith("StableDiffusionXL"):
        raise ModelError(f"{folder} holds a {pipeline or 'nameless pipeline'}, not SDXL", "give --model an SDXL model")
    missing = [part for part in _DIFFUSERS_PARTS if not files.is_folder(folder / part)]
    if missing:
        raise ModelError(f"{folder} is incomplete: no folder {', '.join(missing)}", "download the model again")
    for part in _WITH_WEIGHTS:
        weights = list((folder / part).glob("*.safetensors"))
        if not weights and not any((folder / part).glob("*.bin")):
            raise ModelError(f"{folder / part} holds no weights", "download the model again")
        for file in weights:
            read_header(file)


def _pipeline(index: Path) -> object:
    """The pipeline class named by a diffusers folder. ValueError if it names none."""
    found = files.read_json(index, _LARGEST_INDEX)
    if not isinstance(found, dict):
        raise ValueError("it is not an object")  # noqa: TRY004 - like every other problem of the file
    return found.get("_class_name", "")


def _require_model(path: Path, takes: str, wanted: str) -> None:
    other = handed_file.other_kind(path, takes, wanted)
    if other is not None:
        raise ModelError(other)


def require_vae(vae: str) -> str:
    """Check that `vae` is a file, folder or hub ID, and not an SDXL checkpoint by mistake.

    Links are not resolved: sd-scripts decides by the suffix of the given path.
    """
    path = layout.expand(Path(vae))
    _require_model(path, "checkpoint network pickle web_page", "a VAE")
    if files.is_file(path):
        _require_vae_file(path)
    elif files.is_folder(path):
        if not any(files.is_file(path / place / "config.json") for place in ("", "vae")):
            raise ModelError(f"{path} is not a diffusers VAE: it has no config.json", "give --vae a file")
    elif is_hub_id(vae) and not files.is_folder(path.parent):
        return vae
    else:
        raise ModelError(f"no VAE at {vae}", "omit --vae to use the model's own")
    return str(path)


def _require_vae_file(path: Path) -> None:
    if path.suffix.lower() == ".safetensors":
        header = read_header(path)
        if header.has("encoder.down_blocks."):
            raise ModelError(f"{path} is a VAE in diffusers' form", f"give --vae its folder: {path.parent}")
        if not any(header.has(prefix) for prefix in ("encoder.", "first_stage_model.")):
            raise ModelError(f"{path} is not a VAE", "omit --vae to use the model's own")
    elif path.suffix.lower() not in {".pt", ".ckpt", ".bin"}:
        raise ModelError(f"{path} is not a VAE file: neither .safetensors nor .pt", "omit --vae")
