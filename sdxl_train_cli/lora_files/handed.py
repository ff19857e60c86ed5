"""Open a file that was handed to a command of `file`, and refuse what it can't do, in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import formatting
from sdxl_train_cli.errors import ModelError
from sdxl_train_cli.inspection import model_file
from sdxl_train_cli.inspection.model_file import ModelFile
from sdxl_train_cli.lora_files import module_names
from sdxl_train_cli.sdscripts import checkpoint
from sdxl_train_cli.sdscripts.checkpoint import Header

_MAGNITUDE = "lora_magnitude_vector"
"""Of a DoRA, in peft's names."""


@dataclass(frozen=True)
class HandedFile:
    """A model file and what its header tells."""

    path: Path
    header: Header
    model: ModelFile

    @property
    def size_bytes(self) -> int:
        """Its size on disk."""
        return self.path.stat().st_size

    @property
    def precision(self) -> str:
        """What sd-scripts calls the widest type of its numbers: float, bf16 or fp16."""
        found = self.header.dtypes
        return "float" if found & {"F32", "F64"} else "bf16" if "BF16" in found else "fp16"


def open_model(path: Path) -> HandedFile:
    """Any safetensors model. ModelError for a file of another kind, or a broken one."""
    model_file.require_safetensors(path)
    header = checkpoint.read_header(path)
    return HandedFile(path, header, model_file.describe(header))


def open_network(path: Path, verb: str) -> HandedFile:
    """A LoRA or its kin. ModelError for any other file."""
    found = open_model(path)
    if not found.model.is_network:
        what = found.model.what if found.model.what != model_file.UNKNOWN else "a file that is not known"
        raise ModelError(f"{path} is {_article(what)}, not a LoRA: it has nothing to {verb}", _inspect(path))
    if found.model.broken:
        raise ModelError(f"{path} is broken: {found.model.broken[0]}", _inspect(path))
    return found


def open_checkpoint(path: Path, role: str) -> HandedFile:
    """A whole SDXL checkpoint. ModelError for any other file."""
    found = open_model(path)
    if not found.model.is_checkpoint:
        raise ModelError(f"{path} is {_article(found.model.what)}, not a whole SDXL checkpoint: {role}", _inspect(path))
    return found


def require_factors(found: HandedFile, verb: str, instead: str) -> None:
    """ModelError unless every module is a product of two factors, which is all that can be taken apart."""
    path, model = found.path, found.model
    if any(name.endswith(".dora_scale") or _MAGNITUDE in name for name in found.header.shapes):
        raise ModelError(f"{path} is a DoRA: its magnitudes can't {verb} with it", instead)
    other = [kind for kind in model.kinds if kind != "LoRA"]
    if other:
        raise ModelError(f"{path} is a {other[0]}, which can't {verb}: only LoRA and LoCon have two factors", instead)
    if any(name.endswith(".lora_mid.weight") for name in found.header.shapes):
        raise ModelError(f"{path} is a LoCon with Tucker factors (use_tucker), which can't {verb}", instead)
    more = [name for name in found.header.shapes if not name.endswith((*_factor_endings(), ".alpha"))]
    if more:
        raise ModelError(f"{path} can't {verb}: it has more than two factors and an alpha, such as {more[0]}", instead)


def _factor_endings() -> tuple[str, ...]:
    """How the names of a LoRA's factors end, in any program."""
    return tuple(ending for row in model_file.forms() if row.kind == "LoRA" for ending in row.factors)


def require_kohya_names(found: HandedFile) -> None:
    """ModelError unless every layer has the name that sd-scripts gives it: others are passed over in silence."""
    known = {layer.kohya for layer in module_names.layers()}
    strange = next((name for name in found.model.modules if name not in known), None)
    if strange is not None or found.model.dialects != ("kohya",):
        example = strange or found.model.modules[0]
        raise ModelError(
            f"{found.path} has names that sd-scripts' tools pass over, such as {example}",
            f"first: sdxl-train file convert {formatting.shell_word(found.path)} --to kohya",
        )


def require_sdxl(found: HandedFile) -> None:
    """ModelError for a network of another base family."""
    if found.model.family not in {None, model_file.SDXL}:
        raise ModelError(f"{found.path} is for {found.model.family}, not for SDXL", "this tool works on SDXL files")


def _article(what: str) -> str:
    return what if what.startswith(("a ", "an ", "the ")) else f"{'an' if what[:1].lower() in 'aeiou' else 'a'} {what}"


def _inspect(path: Path) -> str:
    return f"sdxl-train inspect {formatting.shell_word(path)}"
