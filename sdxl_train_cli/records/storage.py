"""How much disk a run's files take, and whether there is room for the next one."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli.errors import TrainingError
from sdxl_train_cli.gpu import GIB
from sdxl_train_cli.memory import demand, network_size
from sdxl_train_cli.recipe import Kind, Recipe

_CHECKPOINT_WEIGHTS = network_size.UNET_WEIGHTS + network_size.TEXT_WEIGHTS + network_size.VAE_WEIGHTS
_BYTES = {"fp16": 2, "bf16": 2, "float": 4}
"""By sd-scripts' save_precision; without it, the weights' own."""
_FULL_PRECISION = 4


@dataclass(frozen=True)
class SaveFiles:
    """What one saving writes."""

    checkpoint_gib: float
    state_gib: float
    """Weights and optimizer, for resuming; 0 where no state is saved."""

    @property
    def saving_gib(self) -> float:
        """The most that is written at once, before anything older is removed."""
        return self.checkpoint_gib + self.state_gib


def files(recipe: Recipe) -> SaveFiles:
    """The files' sizes by the number of weights; RecipeError where the recipe's figures are none."""
    needed = demand.read(recipe).most
    half = recipe.is_on("full_bf16") or recipe.is_on("full_fp16")
    stored = _BYTES.get(str(recipe.get("save_precision")), 2 if half else _FULL_PRECISION)
    weights = _CHECKPOINT_WEIGHTS if recipe.kind is Kind.DREAMBOOTH else needed.trained
    per_weight = needed.trained_bytes + needed.state_bytes
    state = needed.trained * per_weight / GIB if recipe.is_on("save_state") else 0.0
    return SaveFiles(weights * stored / GIB, state)


def free_gib(folder: Path) -> float:
    """What the disk has left where the folder is, or will be; OSError where there is no such disk."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free / GIB


def require(folder: Path, recipe: Recipe) -> None:
    """TrainingError where not even one checkpoint and the result would fit."""
    needed = files(recipe)
    least_gib = needed.saving_gib + needed.checkpoint_gib
    try:
        left_gib = free_gib(folder)
    except (OSError, StopIteration):
        return  # the writing itself tells it in better words
    if left_gib < least_gib:
        raise TrainingError(
            f"{folder} has {left_gib:.1f} GB of disk left, but a checkpoint and the result take {least_gib:.1f}",
            "free some space, or choose another place with --output",
        )
