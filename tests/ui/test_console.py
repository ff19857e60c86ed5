"""What a person sees: on stderr, plain, and in a pipe one line for one thing."""

from __future__ import annotations

import io
import re
import sys

import pytest
from rich.console import Console

from sdxl_train_cli.errors import Problem
from sdxl_train_cli.ui import console

Printed = pytest.CaptureFixture[str]


def test_brackets_and_colons_stand_as_they_are(capsys: Printed) -> None:
    words = "pictures [old] [bold]/[/] :smile: " + "x" * 200

    console.note(words)
    console.warn(Problem(words, None, "[file]:3"))
    console.errors([Problem(words, words)])

    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        words,
        f"warning: [file]:3: {words}",
        f"error: {words}",
        f"hint:  {words}",
    ]
    assert printed.out == ""


def test_a_hint_of_several_lines_is_set_in(capsys: Printed) -> None:
    console.errors([Problem("it broke", "try this\nor that"), Problem("and more")])

    assert capsys.readouterr().err == "error: it broke\nhint:  try this\n       or that\nerror: and more\n"


def test_a_row_of_a_table_is_one_line_in_a_pipe(capsys: Printed) -> None:
    console.table(("name", "VRAM GB", "text"), [("[a]", "9.4", "long " * 60), ("b", "12", ":x:"), ("", "", "")])

    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "name  VRAM GB  text",
        f"[a]       9.4  {'long ' * 60}".rstrip(),
        "b          12  :x:",
        "",
    ]


def test_columns_of_numbers_are_set_to_the_right(capsys: Printed) -> None:
    console.table(
        ("size", "pictures", "cut", "name", "mixed", ""),
        [
            ("8x8", "1,200", "7%", "10_cat", "12", "#"),
            ("1024x8", "3", "-", "7", "twelve", ""),
            ("", "", "31%", "", "", ""),
        ],
    )

    assert capsys.readouterr().out.splitlines() == [
        "size    pictures  cut  name    mixed",
        "8x8        1,200   7%  10_cat  12      #",
        "1024x8         3    -  7       twelve",
        "                  31%",
    ]


@pytest.mark.parametrize(("encoding", "drawn"), [("utf-8", "\u2588\u2588"), ("ascii", "##"), (None, "##")])
def test_a_bar_is_drawn_with_what_stdout_can_show(
    monkeypatch: pytest.MonkeyPatch, encoding: str | None, drawn: str
) -> None:
    stdout = None if encoding is None else io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", stdout)

    assert [console.bar(count, 10, 2) for count in (10, 1, 0)] == [drawn, drawn[0], ""]


def test_faint_cells_are_dimmed_on_a_terminal_and_plain_in_a_pipe(
    capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("LoRA", "- 9.4"), ("LoCon", "7.2")]
    console.table(("settings", "batch 1, GB"), rows, faint={(0, 1)})
    plain = capsys.readouterr().out
    terminal = io.StringIO()
    monkeypatch.setattr(console, "_out", Console(file=terminal, force_terminal=True, color_system="standard", width=80))
    console.table(("settings", "batch 1, GB"), rows, faint={(0, 1)})

    assert "\x1b" not in plain
    assert "- 9.4" in plain
    assert re.findall(r"\x1b\[2m *([^\x1b]+)\x1b\[0m", terminal.getvalue()) == ["- 9.4"]


def test_no_way_to_print_lets_through_what_a_terminal_obeys(capsys: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = "\x1b]0;title\x07\x9b2J\x7f\r\u202e\ud800\nerror: not ours"
    terminal = io.StringIO()

    def print_all() -> None:
        console.out(hostile)
        console.data({hostile: [hostile]})
        console.note(hostile)
        console.warn(Problem(hostile, hostile, hostile))
        console.errors([Problem(hostile, hostile, hostile)])
        console.finding("error", Problem(hostile, hostile), [hostile])
        console.table((hostile, "b"), [(hostile, hostile)])
        console.err_table((hostile, "b"), [(hostile, hostile)])

    print_all()
    printed = capsys.readouterr()
    drawing = Console(file=terminal, force_terminal=True, color_system=None, width=1000)
    monkeypatch.setattr(console, "_out", drawing)
    monkeypatch.setattr(console, "err", drawing)
    print_all()

    told = [*printed.out.split("\n"), *printed.err.split("\n"), *terminal.getvalue().split("\n")]
    assert not [line for line in told if re.search("[\x00-\x1f\x7f-\x9f\u202e\ud800]", line)]
    assert not [line for line in told if line.startswith("error: not ours")]


def test_a_name_in_brackets_heads_a_column_as_it_is(capsys: Printed) -> None:
    console.table(("[bold]", "b"), [("x", "y")])

    assert capsys.readouterr().out.splitlines()[0].split() == ["[bold]", "b"]
