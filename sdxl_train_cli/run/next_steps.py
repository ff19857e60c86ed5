"""What a trained file is good for, and what to type next."""

from __future__ import annotations

from pathlib import Path

from sdxl_train_cli import formatting
from sdxl_train_cli.inspection import strengths
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.records import validation
from sdxl_train_cli.sdscripts import results

_NETWORKS = "ComfyUI's models/loras or Forge's models/Lora"
_EMBEDDINGS = "ComfyUI's models/embeddings or Forge's embeddings"
_CHECKPOINTS = "ComfyUI's models/checkpoints or Forge's models/Stable-diffusion"


_PLACES = {Kind.DREAMBOOTH: _CHECKPOINTS, Kind.EMBEDDING: _EMBEDDINGS}


def lines(kind: Kind, trigger: str | None, result: Path) -> list[str]:
    """What validation said; where the file goes and how it is used; its other checkpoints, the report, and sharing."""
    used = "; ".join([f"put it into {_PLACES.get(kind, _NETWORKS)}", *_uses(kind, trigger, result)])
    earlier = len([made for made in results.checkpoints(result.parent, result.stem) if made.path != result])
    folder = formatting.shell_word(result.parent)
    others = f"{formatting.counted(earlier, 'earlier checkpoint')}: sdxl-train best {folder}; " if earlier else ""
    validated = validation.load(result.parent)
    judged = [] if validated is None else [f"held-back pictures: {validated.words}"]
    then = [f"next: {others}sdxl-train runs report {folder}", f"share it: sdxl-train share {folder}"]
    return [*judged, f"use it: {used}", *then]


def _uses(kind: Kind, trigger: str | None, result: Path) -> list[str]:
    if kind is Kind.EMBEDDING:  # programs know it by its file, whatever it was called in training
        return [f"prompt with embedding:{result.stem} in ComfyUI, {result.stem} in Forge"]
    prompt = [f"prompt with '{trigger}'"] if trigger else []
    return [*prompt, f"strength {strengths.USUAL.words}"] if kind.is_network else prompt
