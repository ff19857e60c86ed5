"""What a person sees: on stderr, plain, and in a pipe one line for one thing."""

from __future__ import annotations

import math

import pytest

from sdxl_train_cli import console
from sdxl_train_cli.errors import Problem
from sdxl_train_cli.progress import Phase, Saved, Step

Printed = pytest.CaptureFixture[str]


def step(number: int, steps: int = 1000, loss: float | None = 0.1234) -> Step:
    return Step(number, steps, loss, 1.5, 60.0)


def test_a_long_run_leaves_few_lines_in_a_log(capsys: Printed) -> None:
    with console.Bar() as bar:
        for number in range(2001):
            bar.show(step(number, 2000))

    lines = capsys.readouterr().err.splitlines()
    assert 20 <= len(lines) <= 22
    assert lines[-1] == "step 2000 of 2000  loss 0.1234  1.50 s/step"


def test_a_short_run_tells_every_step_once(capsys: Printed) -> None:
    with console.Bar() as bar:
        for number in (0, 1, 1, 2, 3, 3):
            bar.show(step(number, 3))

    assert [line.partition("  ")[0] for line in capsys.readouterr().err.splitlines()] == [
        "step 1 of 3",
        "step 2 of 3",
        "step 3 of 3",
    ]


@pytest.mark.parametrize(
    "event",
    [
        Step(1, 0, None, None, None),
        Step(0, 0, math.nan, 0.0, 0.0),
        Step(5, 3, math.inf, math.inf, None),
        Step(1, 1, math.nan, 1e-9, 1e9),
    ],
)
def test_odd_figures_do_no_harm(capsys: Printed, event: Step) -> None:
    with console.Bar() as bar:
        bar.show(event)

    assert "Traceback" not in capsys.readouterr().err


def test_a_loss_that_is_no_number_is_shown(capsys: Printed) -> None:
    with console.Bar() as bar:
        bar.show(step(1, 1, math.nan))

    assert "loss nan" in capsys.readouterr().err


def test_a_phase_is_told_once_and_a_saved_file_by_its_name(capsys: Printed) -> None:
    with console.Bar() as bar:
        for event in (Phase("loading"), Phase("loading"), Saved("out/[bold]x[/bold].safetensors"), Phase("training")):
            bar.show(event)

    assert capsys.readouterr().err.splitlines() == [
        "loading",
        "saving out/[bold]x[/bold].safetensors",
        "training",
    ]


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


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0:00"), (0.4, "0:00"), (59.6, "1:00"), (3599.4, "59:59"), (3600, "1:00:00"), (1e6, "277:46:40")],
)
def test_a_clock_is_read_as_people_write_it(seconds: float, words: str) -> None:
    assert console.clock(seconds) == words
