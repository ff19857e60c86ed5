"""How long a grid takes, by an earlier pace or by the run's steps, always as a range."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from kept_runs import DONE, keep

from sdxl_train_cli import gpu
from sdxl_train_cli.ranking import grid
from sdxl_train_cli.ranking.grid import Grid, GridCheckpoint, PromptLook
from sdxl_train_cli.records import history
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.run import drawing_time
from sdxl_train_cli.sdscripts.sample_prompts import SampleLook

CARD = replace(gpu.hypothetical(24, 0.5), name="RTX 4090")
SETTINGS = {"resolution": "1024,1024", "gradient_checkpointing": True, "train_batch_size": 2}


def run(tmp_path: Path, name: str = CARD.name) -> Loaded:
    settings = {option: {"value": value, "origin": "--set"} for option, value in SETTINGS.items()}
    outcome = {**DONE, "seconds_per_step": 2.0}
    return history.load(keep(tmp_path / "cat", outcome, settings=settings, gpu={"index": 0, "name": name}))


def laid_out() -> Grid:
    prompts = grid.read_prompts(["a boat"], PromptLook(SampleLook(1024, 1024, 20, 7.0, "")))
    return grid.lay_out({}, [GridCheckpoint(file="a", moment="final", sha256="a")], (1.0,), prompts)


def foretold(entry: Loaded, laid: Grid, device: gpu.Gpu | None = CARD) -> drawing_time.Duration | None:
    recipe = entry.record.recipe
    assert recipe is not None
    return drawing_time.foretell(entry, recipe, laid, [laid.cells], device)


def test_a_training_step_tells_how_long_a_forward_pass_takes(tmp_path: Path) -> None:
    found = foretold(run(tmp_path), laid_out())

    # A step of 2 s is 4 passes of 2 pictures; a drawing of 20 steps is 40 passes: 10 s, and there are two.
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(20 / 2 + 10), pytest.approx(20 * 2 + 90))
    assert str(found) == "0:20 to 2:10 (by the pace of the run's steps)"


@pytest.mark.parametrize("device", [None, replace(CARD, name="RTX 3060")])
def test_another_gpus_steps_tell_nothing(tmp_path: Path, device: gpu.Gpu | None) -> None:
    assert foretold(run(tmp_path), laid_out(), device) is None


def test_pictures_that_were_drawn_there_tell_more_than_steps(tmp_path: Path) -> None:
    work = float(1024 * 1024 * 20)
    pace = drawing_time.measured([3.0, 4.0, 10.0], [work, work, 2 * work], 20.0, CARD)
    laid = laid_out().model_copy(update={"pace": pace})

    found = foretold(run(tmp_path), laid)

    assert found is not None
    assert (found.low, found.high) == (pytest.approx(2 * 3 + 20), pytest.approx(2 * 5 + 20))
    assert foretold(run(tmp_path / "other"), laid, None) is None


def test_one_picture_tells_no_pace() -> None:
    assert drawing_time.measured([], [], 0.0, None) is None
