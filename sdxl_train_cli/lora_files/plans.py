"""A file put together from tensors of others: the plan that inside/assemble.py carries out."""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.errors import ModelError
from sdxl_train_cli.lora_files import rewriting
from sdxl_train_cli.lora_files.handed import HandedFile
from sdxl_train_cli.lora_files.tools import Tell, Tools

_SCRIPT = "assemble.py"
_UNPACKED = {"F16": "<e", "F32": "<f", "F64": "<d"}
_BYTES = {"F64": 8, "F32": 4, "I64": 8, "I32": 4}
_HALF = 2


@dataclass(frozen=True)
class TensorPart:
    """A tensor of one of the files, times a factor."""

    file: int
    tensor: str
    factor: float = 1.0


@dataclass(frozen=True)
class AssemblyPlan:
    """What the new file holds."""

    sources: Sequence[Path]
    tensors: Mapping[str, Sequence[TensorPart]]
    """Parts of each; several are put one behind the other."""
    axes: Mapping[str, int] = field(default_factory=dict)
    """Along which axis, for those of several parts."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """Tensors of a single number."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    precision: str | None = None
    """None keeps each tensor's own."""

    def as_json(self, target: Path) -> str:
        """The plan as the script reads it. Single numbers stay in 32 bits: programs read them as such."""
        rows: dict[str, object] = {
            name: {"parts": [[part.file, part.tensor, part.factor] for part in parts], "axis": self.axes.get(name, 0)}
            for name, parts in self.tensors.items()
        }
        rows |= {name: {"value": value, "dtype": "float"} for name, value in self.numbers.items()}
        return json.dumps({
            "files": list(map(str, self.sources)), "target": str(target), "metadata": dict(self.metadata),
            "dtype": self.precision, "tensors": rows,
        })  # fmt: skip


def carry_out(tools: Tools, plan: AssemblyPlan, target: Path, tell: Tell) -> None:
    """Write the file, whole or not at all, with true hashes of its tensors."""
    with files.made_whole(target) as made, tempfile.TemporaryDirectory(prefix="sdxl-train-plan-") as folder:
        written = Path(folder, "plan.json")
        written.write_text(plan.as_json(made), encoding="utf-8")
        tools.run([_SCRIPT, str(written)], tell)
        if {rewriting.MODEL_HASH, rewriting.SPEC_HASH} & plan.metadata.keys():
            rewriting.write(made, made, plan.metadata)


def planned_bytes(plan: AssemblyPlan, sources: Sequence[HandedFile]) -> int:
    """About how large the file is going to be."""
    total = 1 << 20
    for parts in plan.tensors.values():
        for part in parts:
            dtype, _start, length = sources[part.file].header.places[part.tensor]
            size = _BYTES.get(dtype, _HALF)
            total += length // size * (4 if plan.precision == "float" else _HALF) if plan.precision else length
    return total


def number(found: HandedFile, tensor: str) -> float:
    """The single number that a tensor holds, such as an alpha. ModelError for another."""
    dtype, start, length = found.header.places[tensor]
    with files.open_plain(found.path) as file:
        file.seek(start)
        content = file.read(length)
    try:
        if dtype == "BF16":
            return float(struct.unpack("<f", b"\0\0" + content)[0])
        if dtype in _UNPACKED:
            return float(struct.unpack(_UNPACKED[dtype], content)[0])
        return float(int.from_bytes(content, "little", signed=True))
    except struct.error as error:
        raise ModelError(f"{found.path} is broken: {tensor} is not one number", "download it again") from error
