"""Runs with checkpoints and the losses of single pictures, written by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import kept_runs
import tensor_files

HELD, TRAINED = 8, 8
Loss = Callable[[int, int], float]
"""Of a picture's number and a step."""


def write_losses(folder: Path, steps: Sequence[int], held: Loss, trained: Loss | None = None) -> None:
    """Write a line for each step, as the trainer's script does."""
    lines = [json.dumps(line(step, held, trained)) for step in steps]
    (folder / "validation.jsonl").write_text("".join(each + "\n" for each in lines), encoding="utf-8")


def line(step: int, held: Loss, trained: Loss | None = None) -> Mapping[str, object]:
    """One validation."""
    return {
        "step": step,
        "epoch": step // 100,
        "timesteps": [200, 800],
        "held_back": {f"/p/h{number}.png": [held(number, step)] * 2 for number in range(HELD)},
        "training": {} if trained is None else {f"/p/t{number}.png": [trained(number, step)] * 2
                                                for number in range(TRAINED)},
    }  # fmt: skip


def write_run(folder: Path, steps: Sequence[int], kind: str = "lora") -> Path:
    """A run that is done, with a checkpoint at each step; the last of them is its final file."""
    kept_runs.keep(folder, kind=kind)
    names = [f"{folder.name}-step{step:08d}" for step in steps[:-1]] + [folder.name]
    for name, step in zip(names, steps, strict=True):
        write_network(folder / f"{name}.safetensors", step, folder.name)
    return folder


def write_network(path: Path, step: int, name: str, scale: float = 1.0) -> Path:
    """A small LoRA that says its step, and has grown with it."""
    tensors = {
        key: values * (scale * step / 100 if "up" in key else 1.0) for key, values in tensor_files.lora().items()
    }
    return tensor_files.write(path, tensors, "F32", ss_steps=str(step), ss_output_name=name)
