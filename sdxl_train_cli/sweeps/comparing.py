"""Rank the points of a sweep by the loss on held-back pictures, by the rules by which `best` ranks checkpoints.

A point stands for its best checkpoint. Points are compared picture by picture, and the margins allow for as many
comparisons as there were looks to choose from. Points that were measured otherwise are not ranked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli.jobs.job import JobState
from sdxl_train_cli.ranking.verdict import Standing
from sdxl_train_cli.records import picture_losses
from sdxl_train_cli.records.history import RunState
from sdxl_train_cli.records.picture_losses import Difference, Validation
from sdxl_train_cli.sweeps import measuring, point_runs
from sdxl_train_cli.sweeps.measuring import Yardstick
from sdxl_train_cli.sweeps.point_runs import MeasuredRun, OnProgress
from sdxl_train_cli.sweeps.progress import FollowedPoint


@dataclass(frozen=True)
class RankedPoint:
    """One point beside the best one."""

    followed: FollowedPoint
    seen: MeasuredRun | None = None
    """What its losses say. None without a run."""
    standing: Standing = Standing.UNMEASURED
    behind: Difference | None = None
    """How much higher its loss is than the best point's, picture by picture."""

    @property
    def name(self) -> str:
        """Its run's name."""
        return self.followed.point.name

    @property
    def checkpoint(self) -> Path | None:
        """Its best checkpoint, by its held-back pictures. None where they were not looked at."""
        return None if self.seen is None else self.seen.checkpoint

    @property
    def measured(self) -> Validation | None:
        """The validation that speaks for it."""
        return None if self.seen is None else self.seen.best


@dataclass(frozen=True)
class Comparison:
    """The points of a sweep, and which is best."""

    points: tuple[RankedPoint, ...]
    best: RankedPoint | None
    """None where nothing was measured, or where it can't be told."""
    looks: int = 0
    """Checkpoints that the best one was chosen from."""
    unlike: tuple[str, ...] = ()
    """What makes points impossible to compare: they were measured otherwise."""
    other_noise: tuple[str, ...] = ()
    """What gave pictures other noise, so that differences are less sharp."""

    @property
    def tied(self) -> tuple[RankedPoint, ...]:
        """Those that can't be told apart from the best."""
        return tuple(one for one in self.points if one.standing is Standing.TIED)

    @property
    def is_sure(self) -> bool:
        """Whether some point is clearly worse."""
        return any(one.standing is Standing.WORSE for one in self.points)


def compare(followed: Sequence[FollowedPoint], on_progress: OnProgress | None = None) -> Comparison:
    """Rank what has been measured so far."""
    seen = point_runs.measure_all((one.run for one in followed if one.run is not None), on_progress)
    points = [RankedPoint(one, None if one.run is None else seen.get(one.run.folder)) for one in followed]
    measured = [one for one in points if one.measured is not None]
    unlike = tuple(_unlike(measured))
    full = [one for one in measured if _is_whole(one)]
    if unlike or not full:
        return Comparison(tuple(points), None, unlike=unlike)
    best = min(full, key=_loss)
    looks = {(one.name, step) for one in full if one.seen is not None for step in one.seen.looks}
    ranked = tuple(_beside(best, one, max(1, len(looks) - 1)) for one in points)
    return Comparison(ranked, next(one for one in ranked if one.standing is Standing.BEST), len(looks),
                      other_noise=tuple(measuring.different(_noises(full))))  # fmt: skip


def _is_whole(one: RankedPoint) -> bool:
    """Whether it has trained as far as it was to: one that runs or was stopped early is not ranked."""
    return one.followed.state in {JobState.DONE.value, RunState.DONE.value}


def _loss(one: RankedPoint) -> float:
    return one.measured.loss if one.measured is not None else float("inf")


def _unlike(measured: Sequence[RankedPoint]) -> list[str]:
    """What was not the same for all that were measured."""
    yardsticks = [one.followed.run.yardstick for one in measured if one.followed.run is not None]
    found = measuring.different(yardsticks)
    pictures = {frozenset(one.measured.held_back) for one in measured if one.measured is not None}
    return [*found, *(["held-back pictures"] if len(pictures) > 1 and not found else [])]


def _noises(ranked: Sequence[RankedPoint]) -> list[Yardstick]:
    return [one.followed.run.noise for one in ranked if one.followed.run is not None]


def _beside(best: RankedPoint, one: RankedPoint, comparisons: int) -> RankedPoint:
    if one.measured is None or best.measured is None or not _is_whole(one):
        return one
    if one is best:
        return RankedPoint(one.followed, one.seen, Standing.BEST)
    behind = picture_losses.change(best.measured.held_back, one.measured.held_back, comparisons)
    is_worse = behind is not None and behind.is_clear and behind.mean > 0
    return RankedPoint(one.followed, one.seen, Standing.WORSE if is_worse else Standing.TIED, behind)
