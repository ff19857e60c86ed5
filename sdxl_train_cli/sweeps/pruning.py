"""Whether a point of a search is to be stopped early: where it is clearly behind the median of those before it.

The rule is that of Optuna's median pruner, with its doubt: the difference must be clear picture by picture, and the
margin allows for being looked at again and again. A point that starts slowly may still be stopped wrongly; that is
said beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sdxl_train_cli.records import picture_losses
from sdxl_train_cli.records.picture_losses import Difference, Validation

LEAST_POINTS = 3
"""A median of fewer says nothing."""
_WARM_UP = 1 / 3
"""Share of a point's steps in which it is let be: rates warm up, and slow starters catch up."""


@dataclass(frozen=True)
class Lag:
    """How far a point is behind."""

    behind: Difference
    step: int
    points: int

    @property
    def words(self) -> str:
        """As it is told."""
        return (
            f"pruned at step {self.step}: clearly behind the median of {self.points} points, its loss on held-back "
            f"pictures by {self.behind.mean:+.4f} ± {self.behind.margin:.4f}; it might have caught up"
        )


def look(mine: Sequence[Validation], others: Sequence[Sequence[Validation]]) -> Lag | None:
    """How far a running point is clearly behind points that have ended. None if it is to go on.

    It counts with its lowest loss so far, and the others as they were at the same step.
    """
    if not mine:
        return None
    now = mine[-1].step
    beside = [past[-1] for looks in others if looks and now >= _WARM_UP * looks[-1].step
              if (past := [one for one in looks if one.step <= now])]  # fmt: skip
    if len(beside) < LEAST_POINTS:
        return None
    median = sorted(beside, key=lambda one: one.loss)[len(beside) // 2]
    best = min(mine, key=lambda one: one.loss)
    times = max(len(looks) for looks in others)
    behind = picture_losses.change(median.held_back, best.held_back, times)
    is_behind = behind is not None and behind.mean > 0 and behind.is_clear
    return Lag(behind, now, len(beside)) if behind is not None and is_behind else None
