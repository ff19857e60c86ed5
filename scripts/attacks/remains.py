"""What runs and setups leave, turned hostile: records, states, events, names; a home's files."""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from attacks.attempt import Attempt
from attacks.odd_pictures import ODD_NAMES, ROOM, odd_picture
from attacks.spoil import Spoiler
from sdxl_train_cli.memory import memory_settings
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import presets


def record(attempt: Attempt) -> None:
    """What a run has left, by itself or by others."""
    drawn, spoiler = attempt.drawn, attempt.spoiler
    run = attempt.folder / "output" / "cat"
    shutil.copytree(attempt.world.run, run, symlinks=True)
    for name, share in (("run.json", 0.35), ("outcome.json", 0.3), ("running.json", 0.2), ("dataset.json", 0.2)):
        if attempt.chance(share):
            known = json.loads((run / name).read_text(encoding="utf-8")) if name != "running.json" else _WATCHED
            (run / name).write_bytes(spoiler.dumped(spoiler.document(known)))
    if attempt.chance(0.4):
        _spoil_metrics(spoiler, run / "metrics.jsonl")
    for path in run.glob("*-state/train_state.json"):
        if attempt.chance(0.5):
            path.write_bytes(spoiler.dumped(spoiler.document(json.loads(path.read_text(encoding="utf-8")))))
    if attempt.chance(0.3):
        _spoil_by_the_way(attempt, run)
    if attempt.chance(0.2):
        _write_odd_files(drawn, run)
        odd = os.fsdecode(drawn.choice([one for one in ODD_NAMES if len(one) < ROOM]))
        _try(run.rename, run.with_name(odd))
        run = next((one for one in (run, run.with_name(odd)) if one.exists()), run)
    attempt.call(_reads(f"output/{run.name}", attempt))


def _spoil_by_the_way(attempt: Attempt, run: Path) -> None:
    """What the trainer itself has written."""
    log = run / "train.log"
    log.write_bytes(attempt.spoiler.lines(log.read_text(encoding="utf-8")))
    _spoil_events(attempt.spoiler, run / "logs")
    (run / "sample").mkdir(exist_ok=True)
    for odd in attempt.drawn.sample(ODD_NAMES, 4):
        _try(odd_picture, attempt, run / "sample" / f"cat_{os.fsdecode(odd)}_000001_00_20250101000000_1.png")


_WATCHED = {"pid": os.getpid(), "created": 1.0, "boot": "x", "host": "y", "ticks": 3}


def _spoil_metrics(spoiler: Spoiler, path: Path) -> None:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    spoiled = spoiler.document(rows)
    path.write_bytes(b"\n".join(map(spoiler.dumped, spoiled if isinstance(spoiled, list) else [spoiled])))


def _spoil_events(spoiler: Spoiler, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    events = next(iter(folder.rglob("events.*")), folder / "events.out.tfevents.1.x")
    good = events.read_bytes() if events.exists() else struct.pack("<QI", 2**62, 0) + b"x" * 40
    events.write_bytes(spoiler.content(good))


def _write_odd_files(drawn: random.Random, run: Path) -> None:
    for odd in drawn.sample(ODD_NAMES, 3):
        _try(shutil.copy2, run / "cat.safetensors", run / f"{os.fsdecode(odd)}.safetensors")


def _try(act: Callable[..., object], *words: object) -> None:
    try:
        act(*words)
    except (OSError, ValueError):
        return


def _reads(run: str, attempt: Attempt) -> list[list[str]]:
    lives = [["runs", "rerun", run], ["runs", "resume", run, "--no-vram-check", "--steps", "8"]]
    return [
        ["runs", "list"],
        ["runs", "list", "--json"],
        ["runs", "show", run],
        ["runs", "show", run, "--all"],
        ["runs", "show", run, "--json"],
        ["runs", "diff", run, "output/other"],
        ["runs", "report", run, "--to", "page.html"],
        ["runs", "rerun", run, "--dry-run"],
        ["runs", "resume", run, "--dry-run", "--steps", "9", "--no-vram-check"],
        ["runs", "resume", run, "--dry-run", "--steps", "9"],
        ["runs", "explain", run],
        ["runs", "explain", run, "--json"],
        ["runs", "rm", run, "--yes"],
        ["runs", "rm", run, "--keep-result", "--yes"],
        ["runs", "diff", "output/other", run, "--json"],
        *(lives if attempt.chance(0.2) else []),
    ]


def home(attempt: Attempt) -> None:
    """What setup has left, or others."""
    drawn, spoiler, made = attempt.drawn, attempt.spoiler, attempt.folder / "home"
    shutil.copytree(attempt.world.home, made, symlinks=True)
    inner = next(path for path in (made / "environments").iterdir() if path.is_dir())
    name = drawn.choice(
        ("lock.json", "options.json", "current", "measurements.jsonl", "python", "tokenizers", "trainer")
    )
    if name.endswith(".json"):
        (inner / name).write_bytes(
            spoiler.dumped(spoiler.document(json.loads((inner / name).read_text(encoding="utf-8"))))
        )
    elif name == "current":
        _odd_file(attempt, made / name)
    elif name == "measurements.jsonl":
        (made / name).write_bytes(spoiler.dumped(spoiler.document(_measured())))
    elif name == "python":
        _odd_file(attempt, inner / "venv" / "bin" / "python")
    elif name == "tokenizers":
        shutil.rmtree(made / name)
        _odd_file(attempt, made / name)
    else:
        _odd_file(attempt, drawn.choice(sorted((inner / "sd-scripts").glob("*.*"))))
    attempt.environ = {"SDXL_TRAIN_HOME": str(made)}
    attempt.call(
        (
            ["lora", *attempt.training],
            ["presets", "check", "dim32"],
            ["presets", "show", "dim32"],
            ["vram", "--mine"],
            ["vram", "--mine", "--json"],
            ["vram", "--export", "-"],
            ["setup"],
            ["setup", "--json"],
            ["plan", "--gpu", "12"],
            ["presets", "diff", "dim32", "dim128"],
            ["dataset", "caption", "data"],
            ["presets", "schema"],
            ["smoke", "--output", "o"],
            ["lora", "--model", "model.safetensors", "--data", "data", "--no-vram-check", "--steps", "3"],
            ["lora", "--model", "model.safetensors", "--data", "data", "--dry-run"],
            ["dataset", "check", "data"],
        )
    )


_LARGE = 100_000
"""Bytes: what is larger is a program."""


@cache
def _measured() -> dict[str, Any]:
    """A run that was measured, as it is kept."""
    settings = memory_settings.read(presets.load(Kind.LORA, "dim32", (), Path("none")))
    figures = {"width": 1024, "height": 1024, "together": 1, "peak_gib": 7.5, "seconds_per_step": 1.0}
    where = {"gpu": "a card", "gpu_total_gib": 12.0, "driver": "1", "torch": "2", "sd_scripts": "x"}
    when = {"sd_scripts_commit": "c0ffee", "measured": "2026-01-02T10:00:00+00:00"}
    return {**settings.model_dump(mode="json"), **figures, **where, **when}


def _odd_file(attempt: Attempt, path: Path) -> None:
    """Put something else where a file was."""
    content = b""
    if path.is_file():
        content = b"#!/bin/sh\n" if path.stat().st_size > _LARGE else path.read_bytes()
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    acts: tuple[Callable[[], object], ...] = (
        path.mkdir,
        lambda: path.symlink_to(path.name),
        lambda: os.mkfifo(path),
        lambda: path.write_bytes(content),
        lambda: path.write_bytes(attempt.spoiler.content(content)),
        lambda: None,
    )
    attempt.drawn.choice(acts)()
