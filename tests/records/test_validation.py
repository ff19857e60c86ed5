"""The loss on held-back pictures is joined to its steps, and says no more than it can."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdxl_train_cli.records import curves, metrics, validation
from sdxl_train_cli.records.curves import Curves
from sdxl_train_cli.records.metrics import Recorder, StepMetrics
from sdxl_train_cli.sdscripts.scalars import LoggedScalars


def curve(*losses: float) -> validation.ValidationCurve:
    steps = tuple(100 * number for number in range(1, len(losses) + 1))
    found = validation.of(Curves(steps=steps, validation_losses=losses))
    assert found is not None
    return found


def test_an_epochs_validation_belongs_to_the_step_before_it(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with Recorder(path) as recorder:
        for step in (1, 2, 3, 4):
            recorder.step(StepMetrics(step, 1e9 + step))
            recorder.log([LoggedScalars(step, {"loss/current": 0.5, "lr/unet": 1e-4})])
            if step % 2 == 0:  # epochs have two steps, and are what is numbered here
                recorder.log([LoggedScalars(step // 2, {"loss/validation/epoch_average": 0.1 * step})])
        list(recorder.ready(ended=True))

    assert {each.step: each.validation_loss for each in metrics.load(path)} == {1: None, 2: 0.2, 3: None, 4: 0.4}
    found = validation.of(curves.load(path))
    assert found is not None
    assert found.points == ((2, 0.2), (4, 0.4))


def test_validation_that_comes_after_its_step_is_written_goes_to_the_next(tmp_path: Path) -> None:
    with Recorder(tmp_path / "m") as recorder:
        recorder.log([LoggedScalars(1, {"loss/current": 0.5})])
        recorder.step(StepMetrics(1, 1e9))
        recorder.step(StepMetrics(2, 1e9 + 1))
        first = list(recorder.ready())
        recorder.log([LoggedScalars(1, {"loss/validation/step_average": 0.3})])
        last = list(recorder.ready(ended=True))

    assert [each.validation_loss for each in (*first, *last)] == [None, 0.3]


def test_a_rise_that_lasts_is_told_with_the_step_where_it_began() -> None:
    found = curve(0.130, 0.122, 0.118, 0.116, 0.121, 0.126, 0.131, 0.136)

    assert found.has_turned
    assert "up from 0.1160 at step 400" in found.words


@pytest.mark.parametrize(
    "losses",
    [
        (0.13, 0.12, 0.118, 0.117, 0.1165, 0.116),  # still falling
        (0.130, 0.118, 0.131, 0.117, 0.130, 0.119, 0.131),  # it varies as much
        (0.12, 0.11, 0.13),  # too few
        (0.11, 0.12, 0.13, 0.14, 0.15),  # never fell
        (0.13, 0.12, 0.11, 0.1, 0.2),  # one point at the end
        (0.2, 0.1, 0.1001, 0.1002, 0.1003, 0.1004),  # of no use to anyone
    ],
)
def test_nothing_is_called_a_turn_that_is_none(losses: tuple[float, ...]) -> None:
    assert not curve(*losses).has_turned


def test_the_words_name_the_lowest_loss() -> None:
    assert curve(0.13, 0.12).words == "loss 0.1200 at step 200, the lowest"
    assert curve(0.12, 0.13).words == "loss 0.1300 at step 200, lowest 0.1200 at step 100"


def test_without_validation_there_is_no_curve() -> None:
    assert validation.of(Curves(steps=(1, 2), validation_losses=(None, None))) is None


def test_thinned_curves_keep_every_validation() -> None:
    losses = tuple(0.1 if step == 333 else None for step in range(1000))
    full = Curves(steps=tuple(range(1000)), losses=(0.5,) * 1000, validation_losses=losses)

    assert [one for one in curves.thin(full, 20).validation_losses if one is not None] == [0.1]
