"""Metrics are read as they were written, torn, repeated and not a number; thinned, they keep their peaks."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kept_runs import metrics

from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.records import curves
from sdxl_train_cli.records.curves import Curves


def read(tmp_path: Path, text: str) -> Curves:
    (tmp_path / "metrics.jsonl").write_bytes(text.encode())
    return curves.load(tmp_path / "metrics.jsonl")


def test_each_column_has_a_value_for_each_step(tmp_path: Path) -> None:
    found = curves.load(metrics(tmp_path, 3))

    assert found.steps == (1, 2, 3)
    assert found.losses == (1, 1 / 2, 1 / 3)
    assert found.rates == {"unet": (1e-4, 1e-4, 1e-4)}
    assert (found.seconds[0], found.used_gib[0], found.total_gib[0], found.watts[0]) == (1.5, 7.5, 12.0, None)


def test_a_run_without_metrics_has_empty_curves(tmp_path: Path) -> None:
    assert curves.load(tmp_path / "metrics.jsonl") == Curves()


def test_a_torn_last_line_is_passed_over(tmp_path: Path) -> None:
    found = read(tmp_path, '{"step": 1, "loss": 0.5}\n{"step": 2, "lo')

    assert (found.steps, found.unread) == ((1,), 0)


@pytest.mark.parametrize("line", ["", "{", "[]", "3", '{"loss": 1}', '{"step": "2"}', '{"step": true}', "\0\0"])
def test_a_line_that_is_no_metrics_is_counted(tmp_path: Path, line: str) -> None:
    found = read(tmp_path, f'{{"step": 1, "loss": 0.5}}\n{line}\n{{"step": 3, "loss": 0.25}}\n')

    assert (found.steps, found.losses, found.unread) == ((1, 3), (0.5, 0.25), 1)


def test_a_step_that_was_made_again_after_a_resume_counts_once(tmp_path: Path) -> None:
    rows = [(1, 0.9), (2, 0.8), (3, 0.7), (2, 0.5), (3, 0.4), (4, 0.3)]
    found = read(tmp_path, "".join(f'{{"step": {step}, "loss": {loss}}}\n' for step, loss in rows))

    assert (found.steps, found.losses) == ((1, 2, 3, 4), (0.9, 0.5, 0.4, 0.3))


def test_a_loss_that_is_no_number_is_a_gap_with_its_name(tmp_path: Path) -> None:
    texts = ('"nan"', "NaN", '"inf"', "-Infinity", "null")
    found = read(tmp_path, "".join(f'{{"step": {step}, "loss": {text}}}\n' for step, text in enumerate(texts, 1)))

    assert found.losses == (None,) * 5
    assert found.odd == ((1, "nan"), (2, "nan"), (3, "inf"), (4, "inf"))


def test_where_the_step_tells_no_loss_the_average_tells_that_it_is_no_number(tmp_path: Path) -> None:
    assert read(tmp_path, '{"step": 1, "loss": null, "average_loss": "nan"}\n').odd == ((1, "nan"),)


def test_a_metrics_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").mkdir()

    with pytest.raises(UsageError, match="can't be read"):
        curves.load(tmp_path / "metrics.jsonl")


@given(
    st.lists(st.one_of(st.none(), st.floats(-10, 10)), min_size=1, max_size=300),
    st.integers(min_value=2, max_value=60),
)
def test_thinned_curves_are_short_in_order_and_keep_the_extremes(losses: list[float | None], most: int) -> None:
    column = tuple(losses)
    whole = Curves(tuple(range(len(losses))), column, column, {"unet": column}, column, column, column, column)
    thin = curves.thin(whole, most)
    known = [loss for loss in losses if loss is not None]

    assert len(thin.steps) <= most
    assert list(thin.steps) == sorted(set(thin.steps))
    assert thin.losses == tuple(losses[step] for step in thin.steps)
    if known:
        assert max(known) in thin.losses
        assert min(known) in thin.losses
