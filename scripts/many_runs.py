"""Make many run folders that look real, to measure what reads them: `python scripts/many_runs.py LIKE OUTPUT`.

LIKE is the folder of a run that has ended. Each new run has its files but the trained ones, with a name, a start and
settings of its own, written as records are. One of twenty failed, one of twenty was stopped.

With --sweep HOME they are the points of a sweep `many` there, with losses of held-back pictures and checkpoints, which
are links to one file. With --tasks HOME they are the ended tasks of a cluster, 200 in each submission, of which the
last has ten that have not ended.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sdxl_train_cli import __version__
from sdxl_train_cli.cluster import batch
from sdxl_train_cli.cluster.task_folder import TaskEnd, TaskStart
from sdxl_train_cli.jobs.job import JobState, Waiting
from sdxl_train_cli.layout import Home
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Setting
from sdxl_train_cli.records import history, picture_losses, record, runs
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.records.record import Outcome
from sdxl_train_cli.records.runs import Run
from sdxl_train_cli.sweeps.store import Sweeps
from sdxl_train_cli.sweeps.sweep import KeptAxis, KeptRange, Point, Sweep, Way

RATES = (5e-5, 1e-4, 2e-4, 4e-4)
DIMS = (8, 16, 32, 64)
STEPS, SAVED = range(250, 2001, 250), (500, 1000, 1500)
"""Looks at held-back pictures, and checkpoints before the last."""
HELD = 10
ELEMENTS, OPEN = 200, 10
LATER = 1 << 30
"""Beyond every ID of a job."""


@dataclass(frozen=True)
class Made:
    """One run that was made."""

    run: Run
    rate: float
    dim: int
    state: str


def main() -> None:
    """Make them, and tell how long it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("like", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--sweep", type=Path, metavar="HOME")
    parser.add_argument("--tasks", type=Path, metavar="HOME")
    options = parser.parse_args()
    os.fsync = lambda _: None  # nothing of it has to survive a power cut
    began = time.monotonic()
    entry = history.load(options.like)
    if entry.outcome is None or entry.record.inputs is None:
        raise SystemExit(f"{options.like} is no run that has ended")
    made = [_write(entry, entry.outcome, options.output, number) for number in range(options.count)]
    if options.sweep is not None:
        sweep(entry, made, Home.find(options.sweep, {}))
    if options.tasks is not None:
        submit(made, Home.find(options.tasks, {}))
    print(f"{options.count} runs in {options.output}, made in {time.monotonic() - began:.0f} s")


def _write(entry: Loaded, outcome: Outcome, output: Path, number: int) -> Made:
    chance = random.Random(number)  # noqa: S311 - the same runs each time
    rate, dim = chance.choice(RATES), chance.choice(DIMS)
    name = f"cat-{rate:g}-dim{dim}-{number:05}"
    run = Run(output / name, name)
    run.folder.mkdir(parents=True)
    began = entry.record.started and entry.record.started + timedelta(minutes=number)
    settings = {**entry.record.settings}
    settings |= {option: Setting(value=value, origin=Origin("--set")) for option, value in
                 (("learning_rate", rate), ("network_dim", dim))}  # fmt: skip
    inputs = entry.record.inputs and replace(entry.record.inputs, output=output, job=token(number))
    kept = entry.record.model_copy(update={"name": name, "started": began, "settings": settings, "inputs": inputs})
    run.record.write_text(kept.model_dump_json(indent=1, exclude_unset=True) + "\n", encoding="utf-8")
    state = chance.choices(("done", "failed", "stopped"), (18, 1, 1))[0]
    loss = round(chance.uniform(0.05, 0.2), 4)
    cause = "GPU memory ran out" if state == "failed" else None
    runs.write_outcome(run, outcome.model_copy(update={"outcome": state, "loss": loss, "cause": cause}))
    for each in (record.METRICS, record.LOG, record.DATASET, record.LOCK):
        if (entry.folder / each).is_file():
            (run.folder / each).write_bytes((entry.folder / each).read_bytes())
    return Made(run, rate, dim, state)


def token(number: int) -> str:
    """Of a run's job."""
    return f"many-{number:05}"


def sweep(entry: Loaded, made: Sequence[Made], home: Home) -> None:
    """Give the runs what a sweep compares, and write the sweep."""
    output = made[0].run.folder.parent
    network, pictures = _network(Run(entry.folder, entry.name).result, output / "network"), _pictures(output)
    for number, one in enumerate(made):
        _train(one, random.Random(number), network, pictures)  # noqa: S311 - the same each time
    points = tuple(Point(name=one.run.name, settings={"learning_rate": f"{one.rate:g}", "network_dim": str(one.dim)},
                         token=token(number)) for number, one in enumerate(made))  # fmt: skip
    axes = (
        KeptAxis(option="learning_rate", values=tuple(f"{rate:g}" for rate in RATES)),
        KeptAxis(option="network_dim", range=KeptRange(low=DIMS[0], high=DIMS[-1], is_whole=True)),
    )
    kept = Sweep(
        sdxl_train=__version__, name="many", kind=entry.record.kind or "lora", preset=entry.record.preset or "",
        way=Way.RANDOM, made=datetime.now(timezone.utc), output=output, axes=axes, points=points, count=len(points),
        is_queued=True,
    )  # fmt: skip
    sweeps = Sweeps(home.sweeps)
    with sweeps.changing():
        sweeps.write(kept)


def _train(one: Made, chance: random.Random, network: Path, pictures: Sequence[Path]) -> None:
    """Losses that have their lowest point at a middle rate; each picture has its own height and noise."""
    run, far = one.run, abs(math.log10(one.rate) + 3.8)
    last = 900 if one.state == "failed" else STEPS[-1]
    lines = []
    for step in STEPS:
        if step > last:
            break
        course = 0.03 * math.exp(-step / 600) + 0.008 * max(0, step / 1000 - 1.5) * (one.rate > RATES[1])
        base = 0.1 + 0.02 * far + 0.002 * abs(math.log2(one.dim) - 5) + course
        held = {
            f"/pictures/{picture}.png": [round(base + 0.01 * picture + chance.gauss(0, 0.004), 6) for _ in range(4)]
            for picture in range(HELD)
        }
        lines.append({"step": step, "epoch": step // 100, "timesteps": [200, 400, 600, 800], "held_back": held})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run.folder / picture_losses.FILE).write_text(text, encoding="utf-8")
    for step in SAVED:
        if step <= last:
            os.link(network, run.folder / f"{run.name}-step{step:08}.safetensors")
    if one.state == "done":
        os.link(network, run.result)
    run.samples.mkdir()
    for prompt in range(2):
        os.link(chance.choice(pictures), run.samples / f"{run.name}_002000_{prompt:02}_20260101000000_1.png")


def _network(like: Path, target: Path) -> Path:
    """A file with the header of a LoRA that says the last step. Its weights are a hole."""
    size = like.stat().st_size
    with like.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header["__metadata__"]["ss_steps"] = str(STEPS[-1])
    text = json.dumps(header, separators=(",", ":")).encode()
    with target.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + size - 8 - length)
    return target


def _pictures(output: Path) -> list[Path]:
    found = []
    for number in range(8):
        path = output / f"picture-{number}.png"
        Image.radial_gradient("L").resize((1024, 1024)).rotate(45 * number).convert("RGB").save(path)
        found.append(path)
    return found


def submit(made: Sequence[Made], home: Home) -> None:
    """Note the runs as tasks that have ended, as a cluster's nodes do."""
    for start in range(0, len(made), ELEMENTS):
        those = made[start : start + ELEMENTS]
        points = [
            Waiting(name=one.run.name, kind="lora", preset="dim32-gc", token=token(start + at),
                    record=one.run.record.read_text(encoding="utf-8"))
            for at, one in enumerate(those)
        ]  # fmt: skip
        (folder,) = batch.new_folders(home.cluster, 1)
        array = batch.create(folder, points, lambda one: f"# {one.folder}\n", is_array=True)
        array.note_job(str(LATER + start))
        is_last = start + ELEMENTS >= len(made)
        for task, one in zip(array.tasks(), those, strict=True):
            task.note_run(one.run.folder)
            task.note_start(TaskStart(1, 0, 0))
            if not (is_last and task.index < OPEN):
                state = JobState.DONE if one.state == "done" else JobState.FAILED
                task.note_end(TaskEnd(state, 0 if state is JobState.DONE else 7))


if __name__ == "__main__":
    main()
