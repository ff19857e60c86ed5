"""Sizes, durations and moments are written as people write them; a command line is one that can be typed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from datetime import datetime, timezone
from pathlib import PureWindowsPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdxl_train_cli import formatting, visible


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (16_600_000, "16.6 MB"), (6_938_040_682, "6.9 GB")],
)
def test_sizes_are_written_as_people_write_them(size_bytes: int, words: str) -> None:
    assert formatting.size(size_bytes) == words


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
    assert formatting.clock(seconds) == words


def test_a_moment_is_told_on_this_machines_clock() -> None:
    when = datetime(2026, 1, 2, 3, 4, tzinfo=timezone.utc)

    assert formatting.moment(when) == when.astimezone().strftime("%Y-%m-%d %H:%M")
    assert formatting.moment(None) == ""


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Zl", "Zp"])), min_size=1))
def test_the_shell_reads_the_line_as_its_words(words: list[str]) -> None:
    assert shlex.split(formatting.shell_line(words, windows=False)) == words


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@settings(max_examples=30)
@given(st.lists(st.text(st.sampled_from("\x1b\n\r\x7f\x9b\u202e\u2028\udcff'\\\\ a1$`é\t")), min_size=1))
def test_letters_that_a_terminal_obeys_can_be_typed_and_are_not_shown_as_they_are(words: list[str]) -> None:
    line = formatting.shell_line(words, windows=False)

    said = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True).stdout
    assert visible.line(line) == line
    assert [os.fsdecode(word) for word in said.split(b"\0")[:-1]] == words


def test_a_line_for_windows_is_quoted_by_its_rules() -> None:
    words = [PureWindowsPath("C:/my pictures"), PureWindowsPath("D:/cat"), 'say "x"']

    assert formatting.shell_line(words, windows=True) == '"C:\\my pictures" D:\\cat "say \\"x\\""'
