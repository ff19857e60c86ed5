"""Tell from its names and shapes alone that a file is of no use to anybody."""

from __future__ import annotations

from sdxl_train_cli import formatting
from sdxl_train_cli.errors import Problem
from sdxl_train_cli.inspection import model_file
from sdxl_train_cli.inspection.model_file import ModelFile
from sdxl_train_cli.inspection.programs import ProgramReading
from sdxl_train_cli.sdscripts import checkpoint

_AGAIN = "download or train it again"


def no_model(model: ModelFile) -> Problem | None:
    """What a file lacks that is nothing we know."""
    if not model.is_unknown:
        return None
    remedy = _AGAIN
    if not model.names:
        why = "it holds no tensors"
    elif model.is_part:
        why = _lacks(model)
    else:
        why = f"its tensors have names such as {model.names[0]}"
        remedy = "name the .safetensors file of a LoRA or an SDXL checkpoint"
    return Problem(f"the file is neither a LoRA nor a checkpoint: {why}", remedy)


def broken(model: ModelFile) -> Problem | None:
    """Which modules of a network have factors that can't be multiplied, or what an embedding lacks."""
    if not model.broken:
        return None
    if model.is_embedding:
        return Problem(f"the embedding is of no use: {model.broken[0]}", _AGAIN)
    count, total = len(model.broken), len(model.modules)
    return Problem(f"{count} of {formatting.counted(total, 'module')} can't be put together: {model.broken[0]}", _AGAIN)


def of_another_base(model: ModelFile) -> Problem | None:
    """That an embedding's vectors have other lengths than SDXL's."""
    if not model.is_embedding or model.broken or model.family is not None:
        return None
    sides = " and ".join(map(str, model_file.WORDS.values()))
    return Problem(f"the embedding is not for SDXL, whose vectors have {sides} numbers", "train or download another")


def unread(model: ModelFile, readings: tuple[ProgramReading, ...]) -> Problem | None:
    """Why no program reads a file."""
    if not readings or any(reading.obstacle is None for reading in readings):
        return None
    compiled = next((name for name in model.names if checkpoint.COMPILED in name), None)
    example = compiled or next((reading.example for reading in readings if reading.example), None)
    missing = next((reading.missing for reading in readings if reading.missing), None)
    why = f": its tensors have names such as {example}" if example else ""
    if compiled:
        remedy = "train it again with --set torch_compile=false"
    elif model.is_network:
        remedy = "look at its network_module"
    elif model.is_part:
        why, remedy = f": {_lacks(model)}", _AGAIN
    else:
        why = f": it has no tensor whose name begins with {missing}" if missing else why
        remedy = "convert it to the names of an SDXL checkpoint, or download another"
    programs = ", ".join(reading.program for reading in readings)
    return Problem(f"none of {programs} can read it{why}", remedy)


def _lacks(model: ModelFile) -> str:
    return f"of a whole SDXL model it has no {' and no '.join(model.missing)}"
