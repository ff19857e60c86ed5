"""Losses of single pictures at each validation, as inside/validated.py writes them, and what they tell apart.

A picture is measured with the same noise and timesteps each time, so two moments are compared picture by picture: what
makes one picture harder than another drops out, and the standard error is that of the differences.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist, fmean, stdev

from sdxl_train_cli import files
from sdxl_train_cli.records import metrics

FILE = "validation.jsonl"
_MOST_PICTURES = 10_000
_LONGEST_LINE = 1 << 23
"""Bytes. A picture takes its path and a few numbers."""
_DOUBT = 0.05
"""Share of cases in which the true value may lie outside of a margin."""
_FEWEST_FREEDOM = 3
"""Four pictures. The margin of fewer is so wide that it tells nothing, and the approximation is off there."""
_FEWEST = 2

PictureMeans = Mapping[str, float]
"""Mean loss over the timesteps, by picture."""


@dataclass(frozen=True)
class Difference:
    """A mean of paired differences, with its doubt."""

    mean: float
    error: float
    """Standard error of the mean; infinite where it can't be told."""
    pictures: int
    comparisons: int = 1
    """How many are made at once. Of twenty at 95 of 100 cases, one would be clear by chance."""

    @property
    def margin(self) -> float:
        """Half of the range that holds the true mean in 95 of 100 cases, for all comparisons together."""
        return self.error * quantile(self.pictures - 1, self.comparisons) if self.error else 0.0

    @property
    def is_clear(self) -> bool:
        """Whether it is told apart from none."""
        return abs(self.mean) > self.margin

    def minus(self, other: Difference) -> Difference:
        """The difference of two that were measured on different pictures."""
        pictures = min(self.pictures, other.pictures)
        return Difference(self.mean - other.mean, math.hypot(self.error, other.error), pictures)


@dataclass(frozen=True)
class Validation:
    """One look at the pictures that are held back, and at a part of those that are trained on."""

    step: int
    epoch: int | None
    held_back: PictureMeans
    training: PictureMeans

    @property
    def loss(self) -> float:
        """Mean over the held-back pictures."""
        return fmean(self.held_back.values())

    @property
    def training_loss(self) -> float | None:
        """Mean over the part that is trained on. None if there is none."""
        return fmean(self.training.values()) if self.training else None

    @property
    def gap(self) -> float | None:
        """How much more it is on held-back pictures."""
        return None if self.training_loss is None else self.loss - self.training_loss


def quantile(freedom: int, comparisons: int = 1) -> float:
    """Standard errors on either side that hold the true mean in 95 of 100 cases, for all comparisons together.

    Student's t with Bonferroni's correction. The t is expanded around the normal distribution (Abramowitz and Stegun,
    26.7.5): within 1 of 100 from 3 degrees of freedom. Infinite below.
    """
    if freedom < _FEWEST_FREEDOM:
        return math.inf
    z = NormalDist().inv_cdf(1 - _DOUBT / 2 / comparisons)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + first / freedom + second / freedom**2 + third / freedom**3 + fourth / freedom**4


def change(before: PictureMeans, after: PictureMeans, comparisons: int = 1) -> Difference | None:
    """What came to the loss from one moment to the other. None if they share no picture.

    `comparisons` is how many such differences are judged together.
    """
    found = [after[picture] - loss for picture, loss in before.items() if picture in after]
    if not found:
        return None
    error = stdev(found) / math.sqrt(len(found)) if len(found) >= _FEWEST else math.inf
    return Difference(fmean(found), error, len(found), comparisons)


def gap_growth(before: Validation, after: Validation) -> Difference | None:
    """How much the gap has grown. None where one of them has no training part."""
    held, trained = change(before.held_back, after.held_back), change(before.training, after.training)
    return None if held is None or trained is None else held.minus(trained)


def gap_begins(validations: Sequence[Validation]) -> tuple[int, int] | None:
    """The steps between which the gap began to grow, and never went back. None if it did not, or can't be told."""
    if len(validations) < _FEWEST:
        return None
    least = min(validations, key=lambda one: math.inf if one.gap is None else one.gap)
    later = [one for one in validations if one.step > least.step]
    grown = [growth is not None and growth.mean > 0 and growth.is_clear
             for growth in (gap_growth(least, one) for one in later)]  # fmt: skip
    if not grown or not grown[-1]:
        return None
    first = max((at + 1 for at, has_grown in enumerate(grown) if not has_grown), default=0)
    return (later[first - 1].step if first else least.step), later[first].step


def load(path: Path) -> tuple[Validation, ...]:
    """The validations of a run, by step; a step that was repeated counts as measured last. Empty without a file."""
    found: dict[int, Validation] = {}
    try:
        for line in metrics.lines(path, _LONGEST_LINE):
            validation = _parse(line)
            if validation is not None:
                found[validation.step] = validation
    except OSError:
        return ()
    return tuple(found[step] for step in sorted(found))


def truncate(path: Path, step: int) -> None:
    """Forget what was measured after a step, from which a run goes on. OSError if that can't be written."""
    if not files.is_file(path):
        return
    kept = [line for line in metrics.lines(path, _LONGEST_LINE) if (row := _row(line)) is not None and row[0] <= step]
    files.write(path, b"".join(kept))


def _row(line: bytes) -> tuple[int, Mapping[str, object]] | None:
    found = metrics.row(line)
    return None if found is None else (int(str(found["step"])), found)


def _parse(line: bytes) -> Validation | None:
    found = _row(line)
    if found is None:
        return None
    step, row = found
    epoch, timesteps = row.get("epoch"), row.get("timesteps")
    count = len(timesteps) if isinstance(timesteps, list) else 0
    held_back = _means(row.get("held_back"), count)
    if not held_back:
        return None
    return Validation(step, epoch if isinstance(epoch, int) else None, held_back, _means(row.get("training"), count))


def _means(found: object, count: int) -> dict[str, float]:
    """The pictures whose losses are all numbers."""
    if not isinstance(found, dict) or len(found) > _MOST_PICTURES:
        return {}
    means: dict[str, float] = {}
    for picture, losses in found.items():
        if isinstance(losses, list) and len(losses) == count and losses and all(map(_is_number, losses)):
            means[str(picture)] = fmean(losses)
    return means


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
