"""The states that sd-scripts saves for resuming: found in a run's folder, and told whole from half-written."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.errors import ModelError
from sdxl_train_cli.sdscripts import checkpoint, results

_SUFFIX = "-state"
PARTS = ("optimizer.bin", "scheduler.bin", "random_states_0.pkl")
"""Beside the weights; accelerate writes them in this order (checkpointing.py, save_accelerator_state)."""
_COUNT = "train_state.json"
_MOST_STEPS = 10**9
"""A number above it is no count of steps."""


@dataclass(frozen=True)
class SavedState:
    """A whole state."""

    folder: Path
    step: int
    """Steps of the optimizer that were made when it was saved."""


def complete(folder: Path) -> list[SavedState]:
    """Every whole state of a run, the furthest last."""
    found = [read(path) for path in sorted(folder.glob(f"*{_SUFFIX}")) if files.is_folder(path)]
    # Of two at the same step, the one of the run's end comes first by name and stays.
    return sorted(
        (state for state in found if state is not None), key=lambda state: (state.step, -len(state.folder.name))
    )


def prune(folder: Path, name: str) -> None:
    """Once a run is done, keep its furthest state alone: with it, a run can be made longer.

    A folder that sd-scripts has not named after this run is somebody's own, and a link's target is elsewhere.
    """
    ours = [state for state in complete(folder) if results.is_state(state.folder, name)]
    for state in ours[:-1]:
        shutil.rmtree(state.folder, ignore_errors=True)


def read(folder: Path) -> SavedState | None:
    """The state in a folder; None where a part is missing or cut off: it was being saved when the run ended."""
    try:
        counted = files.read_json(folder / _COUNT)
        step = counted["current_step"] if isinstance(counted, dict) else None
        if not isinstance(step, int) or not 0 < step <= _MOST_STEPS:
            return None
        for weights in folder.glob("*.safetensors"):
            checkpoint.read_header(weights)
        whole = all(files.is_file(folder / part) and (folder / part).stat().st_size for part in PARTS)
        has_weights = any(folder.glob("*.safetensors")) or any(folder.glob("pytorch_model*.bin"))
    except (OSError, ValueError, KeyError, ModelError):
        return None
    return SavedState(folder, step) if whole and has_weights else None
