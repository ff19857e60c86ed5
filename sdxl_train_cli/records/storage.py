"""Disk space that a run's files need, and whether the next one fits."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli.errors import TrainingError, UsageError
from sdxl_train_cli.gpu import GIB
from sdxl_train_cli.memory import estimate_inputs, network_size
from sdxl_train_cli.recipe import Kind, Recipe

_CHECKPOINT_WEIGHTS = network_size.UNET_WEIGHTS + network_size.TEXT_WEIGHTS + network_size.VAE_WEIGHTS
_WORD = 768 + 1280
"""Numbers of one vector in both text encoders."""
_BYTES = {"fp16": 2, "bf16": 2, "float": 4}
"""Bytes per weight by sd-scripts' save_precision. Without it, the weights' own precision applies."""
_FULL_PRECISION = 4


@dataclass(frozen=True)
class SaveFiles:
    """Files of one save."""

    checkpoint_gib: float
    state_gib: float
    """Weights and optimizer for resuming. 0 if no state is saved."""

    @property
    def saving_gib(self) -> float:
        """Most that is written at once, before older files are removed."""
        return self.checkpoint_gib + self.state_gib


def files(recipe: Recipe) -> SaveFiles:
    """File sizes by the number of weights. RecipeError if the recipe's values are out of range."""
    needed = estimate_inputs.read(recipe).most
    half = recipe.is_on("full_bf16") or recipe.is_on("full_fp16")
    stored = _BYTES.get(str(recipe.get("save_precision")), 2 if half else _FULL_PRECISION)
    weights = _CHECKPOINT_WEIGHTS if recipe.kind is Kind.DREAMBOOTH else needed.trained
    beside = 0.0
    if recipe.kind is Kind.EMBEDDING:  # a state holds both text encoders whole
        weights = _WORD * (recipe.number("num_vectors_per_token") or 1)
        beside = (network_size.TEXT_WEIGHTS - needed.trained) * needed.trained_bytes
    per_weight = needed.trained_bytes + needed.state_bytes
    state = (needed.trained * per_weight + beside) / GIB if recipe.is_on("save_state") else 0.0
    return SaveFiles(weights * stored / GIB, state)


def free_gib(folder: Path) -> float:
    """Free space on the disk of the folder, which need not exist yet. OSError if there is no such disk."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free / GIB


def require_writable(folder: Path, hint: str = "choose another place: --output FOLDER") -> None:
    """UsageError if nothing can be written where the folder is, or would be made."""
    existing = next((path for path in (folder, *folder.parents) if path.exists()), None)
    if existing is None or not existing.is_dir():
        return  # told where the folder is made
    if not os.access(existing, os.W_OK) or shutil.disk_usage(existing).total == 0:
        raise UsageError(f"nothing can be written to {existing}", hint)


def require(folder: Path, recipe: Recipe) -> None:
    """TrainingError if not even one checkpoint and the result fit."""
    require_writable(folder)
    needed = files(recipe)
    least_gib = needed.saving_gib + needed.checkpoint_gib
    try:
        left_gib = free_gib(folder)
    except (OSError, StopIteration):
        return  # writing will report it in better words
    if left_gib < least_gib:
        raise TrainingError(
            f"{folder} has {left_gib:.1f} GB of disk left, but a checkpoint and the result take {least_gib:.1f}",
            "free some space, or choose another place with --output",
        )
