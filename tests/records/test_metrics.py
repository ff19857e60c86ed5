"""A run's figures by step: joined from what bar, log and driver tell, written whole, read though torn."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_train_cli.records import metrics
from sdxl_train_cli.records.metrics import Recorder, StepMetrics
from sdxl_train_cli.sdscripts.scalars import LoggedScalars


def recorded(path: Path, *logged: LoggedScalars, steps: int = 3) -> list[StepMetrics]:
    with Recorder(path) as recorder:
        for step in range(1, steps + 1):
            recorder.step(StepMetrics(step, 1e9 + step, average_loss=0.5))
        recorder.log(logged)
        return list(recorder.ready(ended=True))


def test_a_steps_own_loss_and_rates_come_from_the_log(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    logged = LoggedScalars(1, {"loss/current": 0.25, "loss/average": 0.375, "lr/unet": 1e-4, "lr/group0": 1e-4})

    first, *others = recorded(path, logged)

    assert (first.loss, first.average_loss, dict(first.rates)) == (0.25, 0.375, {"unet": 1e-4})
    assert [metric.loss for metric in others] == [None, None]
    assert metrics.load(path) == [first, *others]


def test_dreambooths_names_are_known_too(tmp_path: Path) -> None:
    first, *_ = recorded(tmp_path / "m", LoggedScalars(1, {"loss": 0.25, "lr/unet": 1e-5}))

    assert (first.loss, dict(first.rates)) == (0.25, {"unet": 1e-5})


def test_an_embeddings_one_rate_is_known_too(tmp_path: Path) -> None:
    first, *_ = recorded(tmp_path / "m", LoggedScalars(1, {"loss": 0.25, "lr": 5e-4}))

    assert (first.loss, dict(first.rates)) == (0.25, {"lr": 5e-4})


def test_an_epochs_mean_at_the_same_number_is_no_steps_loss(tmp_path: Path) -> None:
    first, *_ = recorded(
        tmp_path / "m", LoggedScalars(1, {"loss/epoch_average": 9.0}), LoggedScalars(1, {"loss/current": 1.0})
    )

    assert first.loss == 1.0


def test_with_accumulation_a_steps_loss_is_the_mean_of_its_parts(tmp_path: Path) -> None:
    """sd-scripts logs each part under the number of the last whole step."""
    parts = [(0, 1.0), (1, 3.0), (1, 5.0), (2, 7.0), (2, 1.0), (3, 2.0)]

    found = recorded(tmp_path / "m", *(LoggedScalars(step, {"loss/current": loss}) for step, loss in parts))

    assert [metric.loss for metric in found] == [2.0, 6.0, 1.5]


def test_with_accumulation_the_first_part_after_a_resumption_belongs_to_the_next_step(tmp_path: Path) -> None:
    with Recorder(tmp_path / "m", first_step=4) as recorder:
        recorder.step(StepMetrics(5, 1e9))
        recorder.log(LoggedScalars(step, {"loss": loss}) for step, loss in ((4, 1.0), (5, 3.0)))
        (found,) = recorder.ready(ended=True)

    assert (found.step, found.loss) == (5, 2.0)


def test_a_step_waits_for_the_next_one_or_the_end(tmp_path: Path) -> None:
    with Recorder(tmp_path / "m") as recorder:
        recorder.step(StepMetrics(1, 1e9))
        recorder.log([LoggedScalars(1, {"loss/current": 0.5, "lr/unet": 1e-4})])
        assert list(recorder.ready()) == []
        recorder.step(StepMetrics(2, 1e9))
        assert [metric.step for metric in recorder.ready()] == [1]
        assert [metric.step for metric in recorder.ready(ended=True)] == [2]


def test_a_step_whose_log_is_read_in_pieces_is_whole(tmp_path: Path) -> None:
    """Each number is written by itself, and a reader may come between any two."""
    pieces = ({"loss/current": 0.5}, {"loss/average": 0.75}, {"lr/unet": 1e-4}, {"lr/textencoder": 5e-5})
    with Recorder(tmp_path / "m") as recorder:
        recorder.step(StepMetrics(1, 1e9))
        for values in pieces:
            recorder.log([LoggedScalars(1, values)])
        recorder.log(
            [LoggedScalars(1, {"loss/current": 9.0}), LoggedScalars(1, {"lr/unet": 9.0})]
        )  # of the next step's first part
        recorder.step(StepMetrics(2, 1e9))
        (whole,) = recorder.ready()

    assert (whole.loss, whole.average_loss) == (0.5, 0.75)
    assert dict(whole.rates) == {"unet": 1e-4, "textencoder": 5e-5}


def test_a_recorder_is_settled_once_every_step_that_was_told_is_logged(tmp_path: Path) -> None:
    with Recorder(tmp_path / "m") as recorder:
        assert recorder.is_settled
        recorder.step(StepMetrics(1, 1e9))
        assert not recorder.is_settled
        recorder.log([LoggedScalars(1, {"loss/current": 0.5})])
        assert not recorder.is_settled
        recorder.log([LoggedScalars(1, {"lr/unet": 1e-4})])
        assert recorder.is_settled


def test_a_loss_that_is_no_number_is_written_as_text_that_json_knows(tmp_path: Path) -> None:
    path = tmp_path / "m"
    recorded(
        path, *(LoggedScalars(step, {"loss/current": loss}) for step, loss in enumerate((math.nan, math.inf, 1.0), 1))
    )

    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line, parse_constant=pytest.fail)["loss"] for line in lines] == ["nan", "inf", 1.0]
    losses = [metric.loss for metric in metrics.load(path)]
    assert losses[0] is not None
    assert math.isnan(losses[0])
    assert losses[1:] == [math.inf, 1.0]


def test_cutting_drops_what_a_resumed_run_makes_again_and_writing_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "m"
    recorded(path, steps=5)
    path.write_text(path.read_text(encoding="utf-8") + '{"step": 6, "ti', encoding="utf-8")

    metrics.truncate(path, 3)
    with Recorder(path) as recorder:
        recorder.step(StepMetrics(4, 2e9))
        list(recorder.ready(ended=True))

    assert [(metric.step, metric.time) for metric in metrics.load(path)][-2:] == [(3, 1e9 + 3), (4, 2e9)]


def test_what_a_kill_left_out_of_a_step_is_taken_from_the_log(tmp_path: Path) -> None:
    path = tmp_path / "m"
    recorded(path, LoggedScalars(1, {"loss/current": 0.7}), steps=1)
    logged = [LoggedScalars(step, {"loss/current": step / 10, "lr/unet": 1e-4}, 1e9 + step) for step in (1, 2, 2, 3)]

    metrics.truncate(path, 2, logged)

    first, second = metrics.load(path)
    assert (first.loss, first.time, dict(first.rates)) == (0.7, 1e9 + 1, {"unet": 1e-4})
    assert (second.loss, second.time, dict(second.rates)) == (0.2, 1e9 + 2, {"unet": 1e-4})


def test_a_file_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert metrics.load(tmp_path / "absent") == []


@given(st.text() | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_no_line_whatsoever_raises(line: str) -> None:
    assert metrics.parse(line) is None


NAMES = st.sampled_from(["step", "time", "loss", "rates", "seconds"])
VALUES = st.none() | st.integers() | st.floats() | st.text() | st.dictionaries(st.text(), st.text())


@given(st.dictionaries(NAMES, VALUES))
def test_no_record_whatsoever_raises(record: dict[str, object]) -> None:
    found = metrics.parse(json.dumps(record))

    assert found is None or metrics.parse(found.line) is not None
