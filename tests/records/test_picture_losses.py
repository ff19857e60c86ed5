"""Losses of single pictures are compared picture by picture, and say no more than they can."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from sdxl_train_cli.records import curves, picture_losses, validation
from sdxl_train_cli.records.picture_losses import Validation


def look(step: int, held: list[float], trained: list[float] | None = None) -> Validation:
    return Validation(
        step,
        None,
        {f"h{number}": loss for number, loss in enumerate(held)},
        {f"t{number}": loss for number, loss in enumerate(trained or [])},
    )


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def row(step: int, held: float, trained: float = 0.1) -> dict[str, object]:
    return {"step": step, "epoch": 1, "timesteps": [200, 800],
            "held_back": {"a": [held, held], "b": [held, held]}, "training": {"c": [trained, trained]}}  # fmt: skip


def test_what_makes_a_picture_hard_drops_out_of_the_doubt() -> None:
    before, after = {"a": 0.1, "b": 0.5, "c": 0.9, "d": 0.3}, {"a": 0.09, "b": 0.49, "c": 0.89, "d": 0.291}
    found = picture_losses.change(before, after)

    assert found is not None
    assert found.mean == pytest.approx(-0.00975)
    assert found.error == pytest.approx(0.00025)
    assert found.is_clear


def test_one_picture_tells_nothing_apart() -> None:
    found = picture_losses.change({"a": 0.1}, {"a": 0.9})

    assert found is not None
    assert math.isinf(found.error)
    assert not found.is_clear


def test_pictures_that_are_not_shared_are_left_out() -> None:
    assert picture_losses.change({"a": 0.1}, {"b": 0.9}) is None


@pytest.mark.parametrize(
    ("freedom", "comparisons", "value"),
    [(2, 1, math.inf), (3, 1, 3.182), (11, 1, 2.201), (1000, 1, 1.962), (7, 6, 3.636), (15, 10, 3.286)],
)
def test_few_pictures_and_many_comparisons_need_a_larger_difference(
    freedom: int, comparisons: int, value: float
) -> None:
    assert picture_losses.quantile(freedom, comparisons) == pytest.approx(value, rel=0.01)  # a table of Student's t


def test_the_gap_begins_where_it_grows_for_good() -> None:
    spread = [0.00, 0.01, 0.02, 0.03]
    looks = [
        look(step, [0.30 + each + held for each in spread], [0.28 + each - trained for each in spread])
        for step, held, trained in ((10, 0, 0), (20, 0, 0), (30, 0.01, 0.01), (40, 0.02, 0.03))
    ]

    assert picture_losses.gap_begins(looks) == (20, 30)


def test_a_gap_that_wavers_has_not_begun_to_grow() -> None:
    looks = [look(10, [0.3, 0.5], [0.3, 0.5]), look(20, [0.2, 0.7], [0.3, 0.5]), look(30, [0.4, 0.4], [0.3, 0.5])]

    assert picture_losses.gap_begins(looks) is None


def test_lines_are_read_by_step_and_the_last_of_a_step_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "v", row(20, 0.5), row(10, 0.6), row(20, 0.4))

    assert [(one.step, one.loss, one.gap) for one in picture_losses.load(path)] == [
        (10, 0.6, pytest.approx(0.5)),
        (20, 0.4, pytest.approx(0.3)),
    ]


@pytest.mark.parametrize(
    "odd",
    [
        '{"step": 3',
        "[]",
        '{"step": -1, "held_back": {}}',
        '{"step": 3, "timesteps": [1], "held_back": []}',
        '{"step": 3, "timesteps": [1], "held_back": {"a": [null]}}',
        '{"step": 3, "timesteps": [1, 2], "held_back": {"a": [0.5]}}',
        '{"step": 3, "timesteps": [1], "held_back": {"a": [true]}}',
        '{"step": 3, "timesteps": [1], "held_back": {"a": ["x"]}}',
    ],
)
def test_a_broken_line_is_passed_over(tmp_path: Path, odd: str) -> None:
    path = write(tmp_path / "v", row(10, 0.5))
    path.write_text(odd + "\n" + path.read_text(encoding="utf-8"), encoding="utf-8")

    assert [one.step for one in picture_losses.load(path)] == [10]


def test_without_a_file_nothing_was_measured(tmp_path: Path) -> None:
    assert picture_losses.load(tmp_path / "none") == ()


def test_a_run_that_goes_on_forgets_what_came_later(tmp_path: Path) -> None:
    path = write(tmp_path / "v", row(10, 0.5), row(20, 0.4), row(30, 0.3))

    picture_losses.truncate(path, 20)
    picture_losses.truncate(tmp_path / "none", 20)

    assert [one.step for one in picture_losses.load(path)] == [10, 20]
    assert not (tmp_path / "none").exists()


def test_both_curves_are_joined_to_a_runs_steps(tmp_path: Path) -> None:
    steps = [
        {"step": step, "time": 1.0, "loss": 0.5, "validation_loss": 9.0 if step == 2 else None} for step in (1, 2, 3)
    ]
    write(tmp_path / "metrics.jsonl", *steps)
    write(tmp_path / "validation.jsonl", row(2, 0.5), row(3, 0.4))

    found = curves.load(tmp_path / "metrics.jsonl")
    told = validation.load(tmp_path)

    assert found.validation_losses == (None, 0.5, 0.4)
    assert found.training_part_losses == (None, 0.1, 0.1)
    assert told is not None
    assert told.gap_words.startswith("trained pictures measured beside them: loss 0.1000")
