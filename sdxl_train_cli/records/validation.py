"""What the loss on held-back pictures says about a run."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from sdxl_train_cli.records import curves, picture_losses, record
from sdxl_train_cli.records.curves import Curves
from sdxl_train_cli.records.picture_losses import Difference, Validation

_FEWEST_POINTS = 5
"""Fewer make no curve."""
_TIMES_USUAL = 2.0
"""How much more than from one point to the next the loss must have risen."""
_LEAST_RISE = 0.01
"""Share of the lowest loss. A smaller rise is of no use to anyone."""


@dataclass(frozen=True)
class ValidationCurve:
    """The loss on held-back pictures, at the steps at which they were looked at."""

    points: tuple[tuple[int, float], ...]
    looks: tuple[Validation, ...] = ()
    """The same by picture, with a part of those that are trained on beside it. Empty where only a mean is known."""

    @property
    def gap_growth(self) -> Difference | None:
        """How much further held-back pictures are from those that are trained on than at the first look."""
        return picture_losses.gap_growth(self.looks[0], self.looks[-1]) if len(self.looks) > 1 else None

    @property
    def gap_begins(self) -> tuple[int, int] | None:
        """The steps between which that began to grow. None if it did not, or can't be told."""
        return picture_losses.gap_begins(self.looks)

    @property
    def lowest(self) -> tuple[int, float]:
        """The step with the lowest loss."""
        return min(self.points, key=lambda point: point[1])

    @property
    def last(self) -> tuple[int, float]:
        """The last one."""
        return self.points[-1]

    @property
    def has_turned(self) -> bool:
        """Whether it has risen since its lowest point, by more than it varies anyway."""
        at = self.points.index(self.lowest)
        losses = [loss for _, loss in self.points]
        if len(losses) < _FEWEST_POINTS or at == 0 or at > len(losses) - 3:
            return False
        usual = median(abs(after - before) for before, after in pairwise(losses))
        rise = median(losses[at + 1 :]) - losses[at]
        return rise > _LEAST_RISE * losses[at] and min(rise, losses[-1] - losses[at]) > _TIMES_USUAL * usual

    @property
    def words(self) -> str:
        """What it says, and what it does not."""
        (step, loss), (at_end, last) = self.lowest, self.last
        if self.has_turned:
            return (
                f"loss {last:.4f} at step {at_end}, up from {loss:.4f} at step {step}: a run that learns "
                "its pictures by heart looks so, and a checkpoint from about there may be better"
            )
        if step == at_end:
            return f"loss {last:.4f} at step {at_end}, the lowest"
        return f"loss {last:.4f} at step {at_end}, lowest {loss:.4f} at step {step}"

    @property
    def gap_words(self) -> str:
        """What the pictures that are trained on say beside it. Empty where they were not measured."""
        loss = self.looks[-1].training_loss if self.looks else None
        if loss is None:
            return ""
        found = f"trained pictures measured beside them: loss {loss:.4f}"
        growth, begins = self.gap_growth, self.gap_begins
        if growth is None:
            return found
        grown = f"{growth.mean:+.4f} ± {growth.margin:.4f}"
        if begins is None:
            return f"{found}; the gap has not clearly grown ({grown})"
        return f"{found}; the gap began to grow between steps {begins[0]} and {begins[1]} ({grown} by the end)"


def load(folder: Path) -> ValidationCurve | None:
    """The curve of a run's folder. None where nothing was validated."""
    return of(curves.load(folder / record.METRICS), picture_losses.load(folder / picture_losses.FILE))


def of(found: Curves, looks: tuple[Validation, ...] = ()) -> ValidationCurve | None:
    """The curve of a run. None where nothing was validated."""
    pairs = zip(found.steps, found.validation_losses, strict=False)
    points = tuple((step, loss) for step, loss in pairs if loss is not None)
    return ValidationCurve(points, looks) if points else None
