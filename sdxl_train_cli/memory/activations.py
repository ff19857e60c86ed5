"""Activation memory per image: the table counted by inside/activations.py, interpolated between its rows."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("activations.csv")
SIDE = 1024
"""Side of the square picture that the values hold for, in pixels. All but plain attention scales with the area."""
_NARROW, _WIDE = 32, 128
_ONE_WINDOW, _THREE_WINDOWS = 77, 227
"""Tokens of a caption in one window, and in three."""
_LOCON, _CONV = 64, 32
_MIB = 1 / 1024


@dataclass(frozen=True)
class ActivationCase:
    """The settings of one counted row, named as the table's columns."""

    part: str = "unet"
    network: str = "lora"
    network_dim: int = _NARROW
    conv_dim: int = 0
    base: str = "bf16"
    precision: str = "bf16"
    attention: str = "sdpa"
    checkpointing: bool = False
    side: int = SIDE
    batch: int = 1
    tokens: int = _ONE_WINDOW


@dataclass(frozen=True)
class CountedActivations:
    """GiB of one row."""

    kept_gib: float
    recomputed_gib: float
    copies_gib: float

    @property
    def most_gib(self) -> float:
        """Peak of the activations."""
        return self.kept_gib + self.recomputed_gib


@dataclass(frozen=True)
class StepSettings:
    """What of a training step decides how much autograd keeps, whatever is trained."""

    checkpointing: bool
    half: bool
    """Whether autocast computes in 16 bits."""
    windows: int = 1
    """Windows of 75 tokens in a caption."""
    recomputed: bool = True
    """Whether to count what a checkpointed block recomputes, which is not there before the backward pass."""


@cache
def rows() -> Mapping[ActivationCase, CountedActivations]:
    """The whole table."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        lines = csv.DictReader(line for line in file if not line.startswith("#"))
        return {_case(line): _counted(line) for line in lines}


def _case(line: Mapping[str, str]) -> ActivationCase:
    return ActivationCase(
        part=line["part"],
        network=line["network"],
        network_dim=int(line["network_dim"]),
        conv_dim=int(line["conv_dim"]),
        base=line["base"],
        precision=line["precision"],
        attention=line["attention"],
        checkpointing=line["checkpointing"] == "true",
        side=int(line["side"]),
        batch=int(line["batch"]),
        tokens=int(line["tokens"]),
    )


def _counted(line: Mapping[str, str]) -> CountedActivations:
    return CountedActivations(*(float(line[f"{size}_mib"]) * _MIB for size in ("kept", "recomputed", "copies")))


@cache
def _most(case: ActivationCase, *, recomputed: bool = True) -> float:
    return rows()[case].most_gib if recomputed else rows()[case].kept_gib


@cache
def full_gib(step: StepSettings, *, half_weights: bool) -> float:
    """GiB for one 1024x1024 image while the U-Net itself is trained."""
    precision = "bf16" if step.half else "fp32"
    base = "bf16" if half_weights and step.half else "fp32"
    case = ActivationCase("unet", "full", 0, base=base, precision=precision, checkpointing=step.checkpointing)
    return _most(case, recomputed=step.recomputed) + _longer_captions(step)


@cache
def words_gib(step: StepSettings) -> float:
    """GiB for one 1024x1024 image while the U-Net only passes gradients on to a caption's words."""
    precision = "bf16" if step.half else "fp32"
    case = ActivationCase("unet", "words", 0, base=precision, precision=precision, checkpointing=step.checkpointing)
    return _most(case, recomputed=step.recomputed) + _longer_captions(step)


@cache
def network_gib(step: StepSettings, dim: int, *, conv: bool) -> float:
    """GiB for one 1024x1024 image while a network of this dim is trained.

    Linear between the counted dims and beyond them. A network that reaches convolutions keeps their inputs too.
    """
    plain = _by_dim(step, dim) + _longer_captions(step)
    if conv:
        reaching = ActivationCase(network_dim=_LOCON, conv_dim=_CONV, checkpointing=step.checkpointing)
        plain += max(0.0, _most(reaching, recomputed=step.recomputed) - _by_dim(step, _LOCON))
    return plain if step.half else plain * _in_float32(checkpointing=step.checkpointing)


def _by_dim(step: StepSettings, dim: int) -> float:
    narrow, wide = (
        _most(ActivationCase(network_dim=size, checkpointing=step.checkpointing), recomputed=step.recomputed)
        for size in (_NARROW, _WIDE)
    )
    return narrow + (dim - _NARROW) * max(0.0, wide - narrow) / (_WIDE - _NARROW)


def _longer_captions(step: StepSettings) -> float:
    """What attention keeps of a caption's further windows."""
    one, three = (
        _most(ActivationCase(tokens=tokens, checkpointing=step.checkpointing), recomputed=step.recomputed)
        for tokens in (_ONE_WINDOW, _THREE_WINDOWS)
    )
    return (three - one) * (step.windows - 1) / 2


def _in_float32(*, checkpointing: bool) -> float:
    wide = _most(ActivationCase(base="fp32", precision="fp32", checkpointing=checkpointing))
    return wide / _most(ActivationCase(checkpointing=checkpointing))


def attention_maps_gib(area: float, *, checkpointing: bool) -> float:
    """Additional GiB of plain attention for one image of `area` times 1024x1024.

    Maps between all pairs of positions grow with the square of the area, maps to the caption's tokens with the area.
    The two shares follow from the two counted sizes.
    """
    half_side = 512
    small, large = (
        _most(ActivationCase(attention="plain", side=side, checkpointing=checkpointing))
        - _most(ActivationCase(side=side, checkpointing=checkpointing))
        for side in (half_side, SIDE)
    )
    part = (half_side / SIDE) ** 2
    squared = max(0.0, (large - small / part) / (1 - part))
    return max(0.0, large - squared) * area + squared * area**2


@cache
def fp8_casts_gib(*, checkpointing: bool) -> float:
    """GiB of an fp8 U-Net's weights that autograd keeps, cast for multiplication: all of them, or one block's."""
    casts = rows()[ActivationCase(base="fp8", checkpointing=checkpointing)]
    return max(0.0, casts.copies_gib - rows()[ActivationCase(checkpointing=checkpointing)].copies_gib)


def text_gib(step: StepSettings, windows: int, *, trained: str) -> float:
    """GiB for captions of `windows` windows of 77 tokens while both text encoders are trained.

    `trained` is "full", "words" for their vocabularies alone, or "lora" for a network.

    The backward pass adds a gradient of the vocabulary, which does not grow with the captions.
    """
    case = ActivationCase("text", checkpointing=step.checkpointing)
    if trained != case.network:
        case = ActivationCase("text", trained, 0, base="fp32", checkpointing=step.checkpointing)
    counted = rows()[case]
    return counted.kept_gib * windows + (counted.recomputed_gib if step.recomputed else 0.0)


@cache
def text_casts_gib() -> float:
    """GiB of the text encoders' half-precision weights that autograd keeps, without the vocabulary."""
    return rows()[ActivationCase("text", "full", 0, base="fp32")].copies_gib


@cache
def picture_gib(way: str, *, half: bool) -> float:
    """GiB beside the weights for one 1024x1024 picture.

    `way` is "encode" or "decode" of the VAE, "strips" where it decodes by inside/sampled.py, or "draw" of the U-Net,
    which draws two at a time: with the prompt and without.
    """
    precision = "bf16" if half else "fp32"
    return _most(ActivationCase(way, "none", 0, base=precision, precision=precision))
