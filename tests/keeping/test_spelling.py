"""Sizes, durations and moments are written as people write them."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from sdxl_train_cli.keeping import spelling


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (16_600_000, "16.6 MB"), (6_938_040_682, "6.9 GB")],
)
def test_sizes_are_written_as_people_write_them(size_bytes: int, words: str) -> None:
    assert spelling.size(size_bytes) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0:00:00"), (61.4, "0:01:01"), (360_000, "100:00:00"), (None, ""), (float("nan"), "")]
)
def test_durations_have_hours_minutes_and_seconds(seconds: float | None, words: str) -> None:
    assert spelling.clock(seconds) == words


def test_a_moment_is_told_on_this_machines_clock() -> None:
    when = datetime(2026, 1, 2, 3, 4, tzinfo=timezone.utc)

    assert spelling.moment(when) == when.astimezone().strftime("%Y-%m-%d %H:%M")
    assert spelling.moment(None) == ""
