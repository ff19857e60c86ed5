"""Sizes, durations and moments are written as people write them; a command line is one that can be typed."""

from __future__ import annotations

import shlex
from datetime import datetime, timezone
from pathlib import PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_train_cli import spelling


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (16_600_000, "16.6 MB"), (6_938_040_682, "6.9 GB")],
)
def test_sizes_are_written_as_people_write_them(size_bytes: int, words: str) -> None:
    assert spelling.size(size_bytes) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0:00"),
        (0.4, "0:00"),
        (59.6, "1:00"),
        (61.4, "1:01"),
        (3599.4, "59:59"),
        (3599.6, "1:00:00"),
        (1e6, "277:46:40"),
        (None, ""),
        (float("nan"), ""),
    ],
)
def test_durations_have_hours_minutes_and_seconds(seconds: float | None, words: str) -> None:
    assert spelling.clock(seconds) == words


def test_a_moment_is_told_on_this_machines_clock() -> None:
    when = datetime(2026, 1, 2, 3, 4, tzinfo=timezone.utc)

    assert spelling.moment(when) == when.astimezone().strftime("%Y-%m-%d %H:%M")
    assert spelling.moment(None) == ""


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1))
def test_the_shell_reads_the_line_as_its_words(words: list[str]) -> None:
    assert shlex.split(spelling.shell_line(words, windows=False)) == words


def test_a_line_for_windows_is_quoted_by_its_rules() -> None:
    words = [PureWindowsPath("C:/my pictures"), PureWindowsPath("D:/cat"), 'say "x"']

    assert spelling.shell_line(words, windows=True) == '"C:\\my pictures" D:\\cat "say \\"x\\""'
