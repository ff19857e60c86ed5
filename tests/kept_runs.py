"""Run folders as they lie on disk, written by hand: what reads them must not need what writes them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import psutil
from conftest import write_safetensors
from PIL import Image

SETTINGS = {
    "learning_rate": {"value": 0.0001, "origin": "_base.yaml:9"},
    "max_train_steps": {"value": 6, "origin": "--steps"},
    "network_dim": {"value": 32, "origin": "dim32.yaml:4"},
}
RECORD: dict[str, object] = {
    "sdxl_train": "0.1.0",
    "kind": "lora",
    "preset": "dim32-gc",
    "started": "2026-01-02T10:00:00+00:00",
    "settings": SETTINGS,
    "pictures": 3,
    "argv": ["python", "train me.py"],
    "environment": {"commit": "c0ffee" * 6, "ref": "v0.10.1", "packages": {"torch": "2.6.0"}},
}
DONE = {"outcome": "done", "steps": 6, "seconds": 61.0, "loss": 0.125}


def keep(
    folder: Path, outcome: Mapping[str, object] | None = DONE, supervisor: int | None = None, **facts: object
) -> Path:
    """Write one run's folder; `supervisor` is the process that watches it."""
    folder.mkdir(parents=True)
    write_json(folder / "run.json", {**RECORD, **facts})
    if outcome is not None:
        write_json(folder / "outcome.json", outcome)
    if supervisor is not None:
        created = psutil.Process(supervisor).create_time() if psutil.pid_exists(supervisor) else 1.0
        write_json(folder / "running.json", {"pid": supervisor, "created": created})
    return folder


def keep_with_files(folder: Path, **facts: object) -> Path:
    """Write a run's folder with a log, checkpoints, states and a sample, named as sd-scripts names them."""
    keep(folder, **facts)  # type: ignore[arg-type]
    name = folder.name
    for stem in (f"{name}-000001", f"{name}-step00000003", name):
        write_safetensors(folder / f"{stem}.safetensors")
    for stem in (f"{name}-000001-state", f"{name}-state"):
        (folder / stem).mkdir()
    (folder / "train.log").write_text("steps: 6/6\n", encoding="utf-8")
    return folder


def write_state(folder: Path, step: int = 3) -> Path:
    """Write a complete saved state."""
    folder.mkdir(parents=True)
    write_safetensors(folder / "model.safetensors")
    for part in ("optimizer.bin", "scheduler.bin", "random_states_0.pkl"):
        (folder / part).write_bytes(b"x")
    (folder / "train_state.json").write_text(json.dumps({"current_epoch": 1, "current_step": step}), encoding="utf-8")
    return folder


def metrics(folder: Path, steps: int, **columns: object) -> Path:
    """Write a metrics file of so many steps."""
    rows = [
        {"step": step, "time": 1.0 + step, "loss": 1 / step, "average_loss": 1 / step, "rates": {"unet": 1e-4},
         "seconds": 1.5, "gpu_used_gib": 7.5, "gpu_total_gib": 12.0, "gpu_power_watts": None, **columns}
        for step in range(1, steps + 1)
    ]  # fmt: skip
    path = folder / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def draw_samples(folder: Path, *names: str) -> None:
    """Draw a sample picture for each name, without the run's own."""
    (folder / "sample").mkdir(exist_ok=True)
    for name in names:
        Image.effect_noise((64, 64), 60).save(folder / "sample" / f"{folder.name}_{name}.png")


def write_json(path: Path, content: object) -> None:
    """Write it as runs are recorded."""
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


US = os.getpid()
NOBODY = 2**22 + 1
"""Above the largest number that Linux gives a process."""
