"""How many points a sweep has."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdxl_train_cli.commands.sweep.checking import CheckedSweep, SweepRequest
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.sweeps import axes
from sdxl_train_cli.sweeps.axes import Axis, Range
from sdxl_train_cli.sweeps.planning import PlannedPoint
from sdxl_train_cli.sweeps.shared_caches import SharedCaches
from sdxl_train_cli.sweeps.sweep import Way

FOUR = (Axis("network_dim", ("4", "8")), Axis("seed", ("1", "2")))
ENDLESS = (Axis("learning_rate", range=Range(1e-5, 1e-3, is_whole=False)),)
BASE = Choices(kind=Kind.LORA, preset="dim32", model="base", data=Path("data"), output=Path("output"), name="cat")


@pytest.mark.parametrize(
    ("varied", "way", "asked", "known", "count"),
    [(FOUR, Way.GRID, None, 4, 4), (FOUR, Way.RANDOM, 10, 4, 4), (FOUR, Way.RANDOM, 3, 3, 3),
     (FOUR, Way.SEARCH, 10, 1, 4), (FOUR, Way.SEARCH, 3, 1, 3), (ENDLESS, Way.SEARCH, 10, 1, 10)],
)  # fmt: skip
def test_no_more_points_are_told_than_there_are(
    varied: tuple[Axis, ...], way: Way, asked: int | None, known: int, count: int
) -> None:
    points = [PlannedPoint.__new__(PlannedPoint) for _ in range(known)]

    found = CheckedSweep(SweepRequest(varied, way, asked, is_confirmed=True), BASE, points, SharedCaches())

    assert found.count == count
    assert way is not Way.RANDOM or len(axes.at_random(varied, asked or 0)) == count
