"""How far the run in a log came: its steps, where it was resumed, and whether its loss says anything."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sdxl_train_cli.sdscripts import progress

_FAILED = re.compile(r"\bCalledProcessError: |ChildFailedError|\bTraining has ended\b")
_BEGINS = re.compile(r"prepare tokenizer|Loading settings from|prepar(?:e|ing) accelerator|running training")
_RESUMED = re.compile(r"resume training from (?:local |huggingface )?state: *(?P<state>\S.*?)(?:\s+\w+\.py:\d+)?$")
_RESUMED_AT = re.compile(r"'current_step': (?P<step>\d{1,9})")
_CUT_BAR = re.compile(r"steps:\s{1,9}\d{1,9}%\|[^|]{0,400}\|\s{0,9}(?P<step>\d{1,9})/(?P<steps>\d{1,9}) \[[^\]]*$")
"""The last bar of a log that breaks off within it."""
_TRAINING = "running training"
_LENGTH = "total optimization steps"
_MANY = 3
"""Losses of 0 that are no chance."""


@dataclass(frozen=True)
class RunStory:
    """How far a run came. None where the log does not say."""

    step: int | None = None
    steps: int | None = None
    state: str | None = None
    """The saved state from which it was resumed."""
    resumed_at: int | None = None
    all_losses_zero: bool = False


def last_run(lines: Sequence[str]) -> Sequence[str]:
    """The lines of the last run, if a log holds a failed one and another that was started after it."""
    start, has_failed = 0, False
    for number, line in enumerate(lines):
        if _FAILED.search(line):
            has_failed = True
        elif has_failed and _BEGINS.search(line):
            start, has_failed = number, False
    return lines[start:]


def read(lines: Sequence[str]) -> RunStory:
    """How far the last run in a log came."""
    starts = [number for number, line in enumerate(lines) if _TRAINING in line]
    begun = lines[starts[-1] :] if starts else lines
    bars = list(_bars(begun))
    losses = [bar.loss for bar in bars if bar.loss is not None]
    told = (progress.parse(line) for line in begun if _LENGTH in line)
    lengths = [event.steps for event in told if isinstance(event, progress.Length)]
    state, resumed_at = _resumed(lines)
    return RunStory(
        step=bars[-1].step if bars else None,
        steps=bars[-1].steps if bars else lengths[-1] if lengths else None,
        state=state,
        resumed_at=resumed_at,
        all_losses_zero=len(losses) >= _MANY and not any(losses),
    )


def _bars(lines: Sequence[str]) -> Iterator[progress.Step]:
    for line in lines:
        bar = progress.split(line)[0] if "%|" in line else None
        cut = _CUT_BAR.match(line) if bar is None and line is lines[-1] else None
        if cut is not None:
            bar = progress.Step(int(cut["step"]), int(cut["steps"]), None, None, None)
        if bar is not None:
            yield bar


def _resumed(lines: Sequence[str]) -> tuple[str | None, int | None]:
    """The state and its step. Both precede the training."""
    state: str | None = None
    step: int | None = None
    has_ended = False
    for line in lines:
        if _TRAINING in line and has_ended:
            state, step, has_ended = None, None, False
        elif "resume training" in line and (found := _RESUMED.search(line)):
            state, step, has_ended = found["state"], None, False
        elif state is not None and "load train state" in line and (at := _RESUMED_AT.search(line)):
            step = int(at["step"])
        elif "model saved." in line:
            has_ended = True
    return state, step
