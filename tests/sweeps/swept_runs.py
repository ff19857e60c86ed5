"""A sweep's record and its points' runs, written by hand."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

import kept_runs

sys.path.insert(0, str(Path(__file__).parents[1] / "ranking"))

import validated_runs
from validated_runs import Loss

from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.sweeps import progress
from sdxl_train_cli.sweeps.progress import FollowedPoint
from sdxl_train_cli.sweeps.sweep import KeptAxis, Point, Sweep, Way

STEPS = (100, 200, 300)


class SweptRuns:
    """A sweep over learning_rate whose runs lie in a folder, and whose jobs are gone."""

    def __init__(self, folder: Path, rates: Sequence[str] = ("1e-5", "1e-4", "1e-3")) -> None:
        self.folder = folder
        points = [Point(name=f"cat-lr{rate}", settings={"learning_rate": rate}, token=f"t{rate}") for rate in rates]
        self.sweep = Sweep(
            sdxl_train="0.1.0",
            name="cat",
            kind="lora",
            preset="dim32-gc",
            way=Way.GRID,
            output=folder,
            made=datetime(2026, 1, 2, tzinfo=timezone.utc),
            axes=(KeptAxis(option="learning_rate", values=tuple(rates)),),
            points=tuple(points),
            count=len(rates),
            is_queued=True,
        )

    def run(
        self, rate: str, losses: Loss | None, steps: Sequence[int] = STEPS, settings: Mapping[str, object] | None = None
    ) -> Path:
        """A point's run that is done, with its losses by picture and step."""
        folder = validated_runs.write_run(self.folder / f"cat-lr{rate}", steps)
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        record["inputs"] = {"preset": "dim32-gc", "model": "m", "data": "/p", "output": "/o", "job": f"t{rate}"}
        record["settings"] |= {
            option: {"value": value, "origin": "--set"} for option, value in (settings or {}).items()
        }
        kept_runs.write_json(folder / "run.json", record)
        if losses is not None:
            validated_runs.write_losses(folder, steps, losses)
        return folder

    def follow(self) -> list[FollowedPoint]:
        """Its points, without a queue."""
        return progress.follow(self.sweep, Queue(self.folder / "no-queue"))
