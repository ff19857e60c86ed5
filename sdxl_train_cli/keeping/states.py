"""The states that sd-scripts saves for resuming: found in a run's folder, and told whole from half-written."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import checkpoint
from sdxl_train_cli.errors import ModelError

_SUFFIX = "-state"
_PARTS = ("optimizer.bin", "scheduler.bin", "random_states_0.pkl")
"""Beside the weights; accelerate writes them in this order (checkpointing.py, save_accelerator_state)."""
_COUNT = "train_state.json"


@dataclass(frozen=True)
class State:
    """A whole state."""

    folder: Path
    step: int
    """Steps of the optimizer that were made when it was saved."""


def complete(folder: Path) -> list[State]:
    """Every whole state of a run, the furthest last."""
    found = [read(path) for path in sorted(folder.glob(f"*{_SUFFIX}")) if path.is_dir()]
    # Of two at the same step, the one of the run's end comes first by name and stays.
    return sorted(
        (state for state in found if state is not None), key=lambda state: (state.step, -len(state.folder.name))
    )


def prune(folder: Path) -> None:
    """Once a run is done, keep the furthest state alone: with it, a run can be made longer."""
    for state in complete(folder)[:-1]:
        shutil.rmtree(state.folder, ignore_errors=True)


def read(folder: Path) -> State | None:
    """The state in a folder; None where a part is missing or cut off: it was being saved when the run ended."""
    try:
        counted = json.loads((folder / _COUNT).read_text(encoding="utf-8"))
        step = int(counted["current_step"])
        for weights in folder.glob("*.safetensors"):
            checkpoint.read_header(weights)
    except (OSError, ValueError, KeyError, TypeError, ModelError):
        return None
    whole = all((folder / part).is_file() and (folder / part).stat().st_size for part in _PARTS)
    has_weights = any(folder.glob("*.safetensors")) or any(folder.glob("pytorch_model*.bin"))
    return State(folder, step) if whole and has_weights and step > 0 else None
