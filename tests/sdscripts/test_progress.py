"""The trainer's lines as it really prints them, whole, glued together or broken."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_train_cli.sdscripts import progress
from sdxl_train_cli.sdscripts.progress import (
    CheckpointSaving,
    Epoch,
    Length,
    ModelSaved,
    NoData,
    Step,
    Subtask,
    TrainerNotice,
    TrainerPhase,
    Validated,
)

BAR = "steps:  33%|███▎      | 2/6 [00:01<00:02,  1.73it/s, avr_loss=1.15]"


def test_a_bar_gives_step_loss_speed_and_time_left() -> None:
    step, rest = progress.split(BAR)

    assert step == Step(step=2, steps=6, loss=1.15, seconds_per_step=1 / 1.73, seconds_left=2.0)
    assert rest == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("steps:   0%|          | 0/6 [00:00<?, ?it/s]", Step(0, 6, None, None, None)),
        ("steps: 100%|##########| 6/6 [00:03<00:00,  2.00s/it]", Step(6, 6, None, 2.0, 0.0)),
        (
            "steps:  50%|█████     | 1000/2000 [1:02:03<26:02:03, 93.72s/it, avr_loss=0.0921]",
            Step(1000, 2000, 0.0921, 93.72, 93723.0),
        ),
        (
            "steps:  10%|█         | 1/10 [00:01<00:09,  1.00it/s, Average key norm=0.1, avr_loss=9e-05]",
            Step(1, 10, 9e-05, 1.0, 9.0),
        ),
        ("steps:  10%|█         | 1/10 [00:01<00:09,  1.00it/s, avr_loss=1.5e+3", Step(1, 10, 1500.0, 1.0, 9.0)),
    ],
)
def test_every_shape_of_the_bar_is_read(text: str, expected: Step) -> None:
    assert progress.split(text)[0] == expected


@pytest.mark.parametrize("loss", ["nan", "inf", "-inf"])
def test_a_loss_that_is_no_number_is_read_as_such(loss: str) -> None:
    """Once, `-inf` was read as the number `-`, and the run was lost to a traceback of ours."""
    step, _ = progress.split(BAR.replace("1.15", loss))

    assert step is not None
    assert step.loss is not None
    assert not math.isfinite(step.loss)


def test_words_glued_to_the_bar_are_not_lost() -> None:
    """Once, a line that held the bar and `model saved.` was taken for the bar alone."""
    step, words = progress.split(f"{BAR}model saved.")

    assert step is not None
    assert progress.parse(words) == ModelSaved()


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (
            "saving checkpoint: /out/my lora-step00000002.safetensors",
            CheckpointSaving("/out/my lora-step00000002.safetensors"),
        ),
        ("2026-02-13 INFO  saving checkpoint: C:\\out\\my.ckpt", CheckpointSaving("C:\\out\\my.ckpt")),
        ("model saved.", ModelSaved()),
        ("No data found. Please verify arguments", NoData()),
        ("running training / 学習開始", TrainerPhase("training")),
        ("caching latents with caching strategy.", TrainerPhase("caching latents")),
        ("epoch 1/2", Epoch(1, 2)),
        ("epoch is incremented. current_epoch: 0, epoch: 1", None),
        ("  total optimization steps / 学習ステップ数: 12", Length(12)),
        (" 33%|███▎      | 1/3 [00:00<00:01,  1.73it/s]", Subtask(1, 3)),
        ("validation steps:  50%|█████     | 2/4 [00:01<00:01, val_avg_loss=0.966, timestep=800]", Validated(0.966)),
        ("epoch validation steps:  50%|█████ | 2/4 [00:01<00:01, val_epoch_avg_loss=inf]", Validated(math.inf)),
        ("", None),
    ],
)
def test_other_lines_are_told_by_their_signs(line: str, event: object) -> None:
    assert progress.split(line) == (None, line)
    assert progress.parse(line) == event


@pytest.mark.parametrize(
    "line", ["NaN found in latents, replacing with zeros", "ignore directory without repeats: /data/cats"]
)
def test_what_a_person_should_hear_comes_with_its_remedy(line: str) -> None:
    event = progress.parse(line)

    assert isinstance(event, TrainerNotice)
    assert event.remedy


@given(st.text(), st.text())
def test_no_line_whatsoever_raises(before: str, behind: str) -> None:
    for line in (before, before + BAR + behind, BAR[: len(before)] + behind, BAR.replace("1.73", behind)):
        _, words = progress.split(line)
        progress.parse(words)


@given(st.from_regex(r"steps:\s+\d+%\|[^|]*\|\s*\d+/\d+ \[[\d:]+<[\d:?]+,\s*[\d.]+it/s, avr_loss=[-+.\deE]+\]"))
def test_nothing_that_looks_like_a_bar_raises(line: str) -> None:
    progress.split(line)
