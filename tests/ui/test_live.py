"""A run as a person follows it: few lines in a pipe, JSON lines for a program, a picture on a terminal."""

from __future__ import annotations

import io
import json
import math

import pytest
from rich.console import Console

from sdxl_train_cli.errors import Problem
from sdxl_train_cli.records.metrics import StepMetrics
from sdxl_train_cli.run.guards import Alarm, Guard
from sdxl_train_cli.run.supervision import Event, ResourceUse, SampleDrawn
from sdxl_train_cli.sdscripts.progress import (
    CheckpointSaving,
    Epoch,
    Step,
    Subtask,
    TrainerNotice,
    TrainerPhase,
    Validated,
)
from sdxl_train_cli.ui import live

Printed = pytest.CaptureFixture[str]

EVERY_EVENT: tuple[Event, ...] = (
    TrainerPhase("caching latents"),
    Subtask(3, 10),
    Epoch(2, 5),
    ResourceUse(9.42, 12.0, 180.4, 6.1),
    StepMetrics(7, 1e9, 0.1, 0.09, {"unet": 9.3e-05}, 1.5),
    StepMetrics(8, 1e9, math.nan, math.inf, {}, None),
    Step(8, 1000, 0.1234, 1.5, 60.0),
    Validated(0.2),
    CheckpointSaving("out/my-step00000008.safetensors"),
    SampleDrawn("out/sample/my_000008_00.png"),
    Alarm(Guard.LOSS, Problem("the loss rises", "lower the rate")),
    TrainerNotice("the VAE gave NaN", "--set no_half_vae=true"),
)


def step(number: int, steps: int = 1000, loss: float | None = 0.1234) -> Step:
    return Step(number, steps, loss, 1.5, 60.0)


def test_a_long_run_leaves_few_lines_in_a_log(capsys: Printed) -> None:
    with live.PlainView() as view:
        for number in range(2001):
            view.show(step(number, 2000))

    lines = capsys.readouterr().err.splitlines()
    assert 20 <= len(lines) <= 22
    assert lines[-1] == "step 2000 of 2000  loss 0.1234  1.50 s/step"


def test_a_short_run_tells_every_step_once(capsys: Printed) -> None:
    with live.PlainView() as view:
        for number in (0, 1, 1, 2, 3, 3):
            view.show(step(number, 3))

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
    with live.PlainView() as view:
        view.show(event)

    assert "Traceback" not in capsys.readouterr().err


def test_a_loss_that_is_no_number_is_shown(capsys: Printed) -> None:
    with live.PlainView() as view:
        view.show(step(1, 1, math.nan))

    assert "loss nan" in capsys.readouterr().err


def test_a_phase_is_told_once_and_a_saved_file_by_its_name(capsys: Printed) -> None:
    with live.PlainView() as view:
        for event in (
            TrainerPhase("loading"),
            TrainerPhase("loading"),
            CheckpointSaving("out/[bold]x[/bold].safetensors"),
            TrainerPhase("training"),
        ):
            view.show(event)

    assert capsys.readouterr().err.splitlines() == [
        "loading",
        "saving out/[bold]x[/bold].safetensors",
        "training",
    ]


def test_a_warning_is_told_with_its_remedy(capsys: Printed) -> None:
    with live.PlainView() as view:
        view.show(Alarm(Guard.LOSS, Problem("the loss rises", "lower the rate")))
        view.show(TrainerNotice("the VAE gave NaN", "--set no_half_vae=true"))

    assert capsys.readouterr().err.splitlines() == [
        "warning: the loss rises",
        "hint:  lower the rate",
        "warning: the VAE gave NaN",
        "hint:  --set no_half_vae=true",
    ]


def test_every_event_is_one_line_of_json_with_its_name(capsys: Printed) -> None:
    with live.view(as_json=True) as view:
        for event in EVERY_EVENT:
            view.show(event)

    told = [json.loads(line, parse_constant=pytest.fail) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in told] == [type(event).__name__.lower() for event in EVERY_EVENT]
    assert told[6]["step"] == 8
    assert told[5]["loss"] == "nan"
    assert told[10]["problem"]["hint"] == "lower the rate"


def test_the_picture_shows_phase_loss_rate_memory_speed_time_and_files() -> None:
    view = live.TerminalView()
    for event in EVERY_EVENT[:-2]:
        view.show(event)

    screen = Console(file=io.StringIO(), width=120, force_terminal=False)
    with screen.capture() as captured:
        screen.print(view.picture())
    shown = captured.get()
    for words in ("training", "8/1000", "epoch 2/5", "loss 0.1234", "lr unet 9.3e-05", "1.50 s/step", "1:00 left",
                  "VRAM 9.4 of 12.0 GB", "180 W", "validation 0.2000", "my-step00000008.safetensors",
                  "my_000008_00.png"):  # fmt: skip
        assert words in shown


def test_the_sparkline_falls_as_the_loss_falls() -> None:
    assert live.sparkline([8.0, 8, 7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1]) == "█▇▆▅▄▃▂▁"
    assert live.sparkline([1.0]) == ""
    assert live.sparkline([1.0] * 64) == "▁" * 32
