"""Convert a line of the trainer's output to an event, if it contains one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """The training progress bar moved."""

    step: int
    steps: int
    loss: float | None
    """avr_loss: the mean over as many steps as an epoch has. May be NaN."""
    seconds_per_step: float | None
    seconds_left: float | None


@dataclass(frozen=True)
class TrainerPhase:
    """What the trainer does before and between steps."""

    words: str


@dataclass(frozen=True)
class Stopping(TrainerPhase):
    """The end that was asked for; it shows until it is there."""


@dataclass(frozen=True)
class Subtask:
    """Progress of something other than training: caching, loading, tagging."""

    done: int
    total: int


@dataclass(frozen=True)
class Epoch:
    """An epoch begins."""

    epoch: int
    epochs: int


@dataclass(frozen=True)
class Length:
    """Steps of the whole run, including earlier attempts."""

    steps: int


@dataclass(frozen=True)
class Validated:
    """Mean validation loss so far."""

    loss: float


@dataclass(frozen=True)
class CheckpointSaving:
    """The trainer has started to write a checkpoint."""

    path: str


@dataclass(frozen=True)
class TrainerNotice:
    """A message of the trainer that the user should see. Training continues."""

    words: str
    remedy: str


@dataclass(frozen=True)
class ModelSaved:
    """The trainer reports that the final model is saved."""


@dataclass(frozen=True)
class NoData:
    """The trainer found nothing to train on. It will exit with 0."""


Event = (
    Step | TrainerPhase | Subtask | Epoch | Length | Validated | CheckpointSaving | TrainerNotice | ModelSaved | NoData
)

SAVING_STATE = TrainerPhase("saving the state")

_NUMBER = r"nan|-?inf|-?\d{1,19}(?:\.\d{1,19})?(?:[eE][-+]?\d{1,9})?"
# Repetitions are bounded and can't overlap: a line of 64,000 digits once took half a minute.
_STEP = re.compile(
    r"(?<!validation )steps:\s{1,9}\d{1,9}%\|[^|]{0,400}\|\s{0,9}(?P<step>\d{1,9})/(?P<steps>\d{1,9}) "
    r"\[(?P<spent>[\d:]{1,19})<(?P<left>[\d:?]{1,19}),\s{0,9}(?P<rate>\d{1,19}(?:\.\d{1,19})?|\?)\s?(?P<unit>s/it|it/s)"
    r"(?P<rest>[^\]]*)\]?"
)
_LOSS = re.compile(rf"(?:avr_)?loss=(?P<loss>{_NUMBER})")
_PART = re.compile(r"(?<!\d)\d{1,9}%\|[^|]{0,400}\|\s{0,9}(?P<done>\d{1,9})/(?P<total>\d{1,9}) \[")
_EPOCH = re.compile(r"epoch (?P<epoch>\d{1,9})/(?P<epochs>\d{1,9})\s{0,9}$")
_LENGTH = re.compile(r"total optimization steps[^:]{0,99}: (?P<steps>\d{1,9})(?!\d)")
_VALIDATED = re.compile(rf"(?<!\w)val\w{{0,40}}_loss=(?P<loss>{_NUMBER})")
_SAVED = re.compile(r"^.{0,99}?saving checkpoint: (?P<path>.+\.(?:safetensors|ckpt|pt))")
_MARKS: tuple[tuple[str, Event], ...] = (
    ("model saved.", ModelSaved()),
    ("No data found", NoData()),
    ("caching latents", TrainerPhase("caching latents")),
    ("caching Text Encoder outputs", TrainerPhase("caching text-encoder outputs")),
    ("building U-Net", TrainerPhase("loading the model")),
    ("load Diffusers pretrained models", TrainerPhase("loading the model")),
    ("loading u-net", TrainerPhase("loading the model")),
    ("prepare optimizer", TrainerPhase("preparing")),
    ("running training", TrainerPhase("training")),
    ("generating sample images", TrainerPhase("drawing samples")),
    ("saving state", SAVING_STATE),
    ("saving last state", SAVING_STATE),
    ("NaN found in latents", TrainerNotice(
        "the VAE gave NaN for a picture, and sd-scripts trains on zeros instead",
        "--set no_half_vae=true, or a repaired VAE with --vae",
    )),
    ("ignore directory without repeats", TrainerNotice(
        "sd-scripts skips a folder whose name does not begin with a number", "name folders like 10_cat"
    )),
)  # fmt: skip


def split(line: str) -> tuple[Step | None, str]:
    """Separate the progress bar from a line. It has no line break, so other text may be glued to it."""
    bar = _STEP.search(line)
    return (_step(bar), line[: bar.start()] + line[bar.end() :]) if bar else (None, line)


def parse(line: str) -> Event | None:
    """Parse a line without a training bar."""
    for pattern, made in _SHAPES:
        found = pattern.search(line)
        if found:
            return made(found)
    return next((event for mark, event in _MARKS if mark in line), None)


_SHAPES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Event]], ...] = (
    (_SAVED, lambda found: CheckpointSaving(found["path"].strip())),
    (_VALIDATED, lambda found: Validated(float(found["loss"]))),
    (_PART, lambda found: Subtask(int(found["done"]), int(found["total"]))),
    (_EPOCH, lambda found: Epoch(int(found["epoch"]), int(found["epochs"]))),
    (_LENGTH, lambda found: Length(int(found["steps"]))),
)


def _step(bar: re.Match[str]) -> Step:
    rate = float(bar["rate"]) if bar["rate"] != "?" else 0.0
    loss = _LOSS.search(bar["rest"])
    per_step = rate if bar["unit"] == "s/it" else 1 / rate if rate else 0.0
    return Step(
        step=int(bar["step"]),
        steps=int(bar["steps"]),
        loss=float(loss["loss"]) if loss else None,
        seconds_per_step=per_step or None,
        seconds_left=None if "?" in bar["left"] else _seconds(bar["left"]),
    )


def _seconds(clock: str) -> float:
    total = 0.0
    for part in clock.split(":"):
        total = total * 60 + float(part or 0)
    return total
