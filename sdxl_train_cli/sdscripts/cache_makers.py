"""What makes a run's caches: VAE and text encoders, known again by a few of their weights.

Bases that were merged often share both to the last bit, and a file's name says nothing of that. A few numbers from
the layers that decide the output tell more, at the price of a few reads; they are compared as exactly as the coarser of
the two files has them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import files, layout
from sdxl_train_cli.errors import ModelError
from sdxl_train_cli.sdscripts import checkpoint

_NUMBERS = 8
"""Of each tensor, from its middle."""
_TYPES: Mapping[str, tuple[str, int, float]] = {
    "F32": ("f", 4, 1e-6), "F16": ("e", 2, 2**-10), "BF16": ("H", 2, 2**-7)
}  # fmt: skip
"""How struct reads it, bytes, and by how much two roundings of a number may differ."""
_LEAST = 1e-7
"""Smaller differences are those of the smallest half-precision numbers."""

_VAE = ("encoder.conv_in.weight", "encoder.conv_out.weight", "quant_conv.weight")
"""The same names and shapes in both forms of a VAE."""
_TEXT = (
    # in a checkpoint, and in a diffusers folder: its part and the name there
    ("conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight", "text_encoder",
     "text_model.embeddings.token_embedding.weight"),
    ("conditioner.embedders.0.transformer.text_model.encoder.layers.10.mlp.fc1.weight", "text_encoder",
     "text_model.encoder.layers.10.mlp.fc1.weight"),
    ("conditioner.embedders.1.model.token_embedding.weight", "text_encoder_2",
     "text_model.embeddings.token_embedding.weight"),
    ("conditioner.embedders.1.model.transformer.resblocks.30.mlp.c_fc.weight", "text_encoder_2",
     "text_model.encoder.layers.30.mlp.fc1.weight"),
)  # fmt: skip


@dataclass(frozen=True)
class WeightSample:
    """A few weights, by which a model is known again."""

    dtype: str
    values: tuple[float, ...]

    def is_like(self, other: WeightSample) -> bool:
        """Whether both may be of the same model, each rounded in its own way."""
        allowed = max(_TYPES[each.dtype][2] for each in (self, other))
        return len(self.values) == len(other.values) and all(
            math.isclose(one, two, rel_tol=allowed, abs_tol=_LEAST)
            for one, two in zip(self.values, other.values, strict=True)
        )

    @property
    def plain(self) -> dict[str, object]:
        """As JSON has it."""
        return {"dtype": self.dtype, "values": list(self.values)}

    @classmethod
    def parse(cls, found: object) -> WeightSample | None:
        """None where it is none."""
        if not isinstance(found, dict) or found.get("dtype") not in _TYPES or not isinstance(found.get("values"), list):
            return None
        values = found["values"]
        if not values or not all(isinstance(value, int | float) for value in values):
            return None
        return cls(str(found["dtype"]), tuple(map(float, values)))


@dataclass(frozen=True)
class CacheMakers:
    """What a run would make its caches with; None where that can't be told, as of a .ckpt or a hub id."""

    vae: WeightSample | None
    text_encoders: WeightSample | None
    flags: tuple[str, ...] = ()
    """The command line's words for both."""


def look(model: str, vae: str | None, fetched: Path | None = None) -> CacheMakers:
    """Look at a model and its VAE; `fetched` is the folder of a hub id in the hub's cache."""
    path = fetched or layout.expand(Path(model))
    own = layout.expand(Path(vae)) if vae else None
    flags = ("--model", model, *(("--vae", vae) if vae else ()))
    return CacheMakers(_vae(own or path, is_alone=own is not None), _text_encoders(path), flags)


def _vae(path: Path, *, is_alone: bool) -> WeightSample | None:
    if files.is_folder(path):
        folder = path if is_alone and not files.is_folder(path / "vae") else path / "vae"
        return _sampled((_weights(folder), name) for name in _VAE)
    return _sampled((path, name) for name in _VAE) or _sampled((path, f"first_stage_model.{name}") for name in _VAE)


def _text_encoders(path: Path) -> WeightSample | None:
    if files.is_folder(path):
        return _sampled((_weights(path / part), name) for _, part, name in _TEXT)
    return _sampled((path, name) for name, _, _ in _TEXT)


def _weights(folder: Path) -> Path:
    """The one file of a part; of several precisions, sd-scripts takes any."""
    return next(iter(sorted(folder.glob("*.safetensors"))), folder / "none.safetensors")


def _sampled(wanted: Iterator[tuple[Path, str]]) -> WeightSample | None:
    """None unless all are there, in a type that can be read here."""
    headers: dict[Path, checkpoint.Header] = {}
    values, dtypes = list[float](), set[str]()
    try:
        for path, name in wanted:
            if path.suffix.lower() != ".safetensors":
                return None
            header = headers.setdefault(path, headers.get(path) or checkpoint.read_header(path))
            dtype, start, size = header.places[name]
            values += _numbers(path, dtype, start, size)
            dtypes.add(dtype)
    except (ModelError, KeyError, OSError, struct.error):
        return None
    coarsest = max(dtypes, key=lambda dtype: _TYPES[dtype][2])
    return WeightSample(coarsest, tuple(values))


def _numbers(path: Path, dtype: str, start: int, size: int) -> Sequence[float]:
    """Numbers from the middle of a tensor; KeyError for another type."""
    code, width, _ = _TYPES[dtype]
    count = min(_NUMBERS, size // width)
    with files.open_plain(path) as file:
        file.seek(start + (size // width - count) // 2 * width)
        content = file.read(count * width)
    if dtype == "BF16":
        halves = struct.unpack(f"<{count}H", content)
        return struct.unpack(f"<{count}f", struct.pack(f"<{count}I", *(half << 16 for half in halves)))
    return struct.unpack(f"<{count}{code}", content)
