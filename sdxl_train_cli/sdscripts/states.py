"""States that sd-scripts saves for resuming: find them in a run's folder, and check that they are complete."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.errors import ModelError
from sdxl_train_cli.sdscripts import checkpoint, results

SUFFIX = "-state"
"""How the folder of a state ends."""
PARTS = ("optimizer.bin", "scheduler.bin", "random_states_0.pkl")
"""Files besides the weights. accelerate writes them in this order (checkpointing.py, save_accelerator_state)."""
_COUNT = "train_state.json"
_EPOCH = "epoch_state.json"
_NAMED = re.compile(rf".+-step(\d{{8,18}}){SUFFIX}", re.DOTALL)
"""A state's name at a step. sdxl_train.py alone writes the number nowhere else."""
_HALF = ".part"
"""Behind the name of a state that was being saved as the run was cut off (inside/saving.py)."""
_MOST_STEPS = 10**9
"""A larger number is no step count."""


@dataclass(frozen=True)
class SavedState:
    """A complete state."""

    folder: Path
    step: int
    """Optimizer steps made before it was saved."""


def complete(folder: Path) -> list[SavedState]:
    """Complete states of a run, the latest last."""
    found = [read(path) for path in sorted(folder.glob(f"*{SUFFIX}")) if files.is_folder(path)]
    # Of two at the same step, the one saved at the run's end sorts first and is kept.
    return sorted(
        (state for state in found if state is not None), key=lambda state: (state.step, -len(state.folder.name))
    )


def prune(folder: Path, name: str) -> None:
    """After a run has finished, keep only its latest state, from which it can be extended.

    Folders that sd-scripts did not name after this run are kept, and links are not followed.
    """
    ours = [state for state in complete(folder) if results.is_state(state.folder, name)]
    for state in ours[:-1]:
        shutil.rmtree(state.folder, ignore_errors=True)
    shutil.rmtree(folder / f"{name}{SUFFIX}{_HALF}", ignore_errors=True)


def read(folder: Path) -> SavedState | None:
    """The state in a folder. None if a part is missing or truncated: the run ended while saving it."""
    try:
        step = _step(folder)
        if not isinstance(step, int) or not 0 < step <= _MOST_STEPS:
            return None
        for weights in folder.glob("*.safetensors"):
            checkpoint.read_header(weights)
        whole = all(files.is_file(folder / part) and (folder / part).stat().st_size for part in PARTS)
        has_weights = any(folder.glob("*.safetensors")) or any(folder.glob("pytorch_model*.bin"))
    except (OSError, ValueError, KeyError, ModelError):
        return None
    return SavedState(folder, step) if whole and has_weights else None


def tells_order(folder: Path) -> bool:
    """Whether a state holds its epoch's order of pictures (inside/counted.py)."""
    return files.is_file(folder / _EPOCH)


def _step(folder: Path) -> object:
    named = _NAMED.fullmatch(folder.name)
    if named and not files.exists(folder / _COUNT):
        return int(named[1])
    counted = files.read_json(folder / _COUNT)
    return counted["current_step"] if isinstance(counted, dict) else None
