"""What a trained file is good for, and what to type next."""

from __future__ import annotations

from pathlib import Path

from sdxl_train_cli import formatting
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.records import curves, record, validation
from sdxl_train_cli.sdscripts import results

_NETWORKS = "ComfyUI's models/loras or Forge's models/Lora"
_CHECKPOINTS = "ComfyUI's models/checkpoints or Forge's models/Stable-diffusion"


def lines(kind: Kind, trigger: str | None, result: Path) -> list[str]:
    """What validation said; where the file goes and how it is used; its other checkpoints, and the report."""
    is_network = kind is not Kind.DREAMBOOTH
    prompt = [f"prompt with '{trigger}'"] if trigger else []
    strength = ["strength 0.7 to 1"] if is_network else []
    used = "; ".join([f"put it into {_NETWORKS if is_network else _CHECKPOINTS}", *prompt, *strength])
    earlier = len([made for made in results.checkpoints(result.parent, result.stem) if made.path != result])
    others = f"{formatting.counted(earlier, 'earlier checkpoint')} beside it; " if earlier else ""
    validated = validation.of(curves.load(result.parent / record.METRICS))
    judged = [] if validated is None else [f"held-back pictures: {validated.words}"]
    return [*judged, f"use it: {used}", f"next: {others}sdxl-train runs report {formatting.shell_word(result.parent)}"]
