"""A comparison of points in words, as a table and as data. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Sequence

from sdxl_train_cli import formatting
from sdxl_train_cli.ranking import facts
from sdxl_train_cli.ranking import words as ranking_words
from sdxl_train_cli.ranking.verdict import Standing
from sdxl_train_cli.sweeps import progress
from sdxl_train_cli.sweeps.comparing import Comparison, RankedPoint
from sdxl_train_cli.sweeps.sweep import Sweep

_MOST_NAMED = 8
_BEHIND, _HELD_BACK = "behind the best", "held-back loss"


def headings(sweep: Sweep) -> tuple[str, ...]:
    """Of the table."""
    return ("run", *(axis.option for axis in sweep.axes), "state", _HELD_BACK, "at step", _BEHIND, "standing")


def row(sweep: Sweep, one: RankedPoint) -> tuple[str, ...]:
    """One point in the table."""
    measured = one.measured
    behind = "" if one.behind is None else ranking_words.difference(one.behind)
    return (
        one.name,
        *(one.followed.point.settings.get(axis.option, "") for axis in sweep.axes),
        one.followed.words,
        "" if measured is None else f"{measured.loss:.4f}",
        "" if measured is None else str(measured.step),
        behind,
        "not ranked" if one.standing is Standing.UNMEASURED and measured else _standing(one),
    )


def _standing(one: RankedPoint) -> str:
    return "" if one.standing is Standing.UNMEASURED else one.standing.value


def headline(found: Comparison) -> str:
    """Which point is best, in a line."""
    if found.unlike:
        return "the points can't be ranked: they were not validated alike"
    if found.best is None:
        return "no point is ranked: no loss on held-back pictures is known"
    if not found.is_sure and len(_ranked(found)) > 1:
        return f"{found.best.name} has the lowest loss, but no point is clearly worse"
    return found.best.name + (", or one that can't be told apart from it" if found.tied else "")


def reasons(sweep: Sweep, found: Comparison) -> list[str]:
    """Why, and how sure that is."""
    told = []
    if found.unlike:
        told.append(f"not the same for all: {formatting.some(found.unlike, _MOST_NAMED)}")
    if found.best is not None and found.best.measured is not None:
        told += _of_best(found, found.best)
        told += _at_an_end(sweep, found, found.best)
    pruned = [one.name for one in found.points if one.followed.state == progress.PRUNED]
    if pruned:
        told.append(f"stopped early, and might have caught up: {formatting.some(pruned, _MOST_NAMED)}")
    later = 0 if sweep.is_stopped else max(0, sweep.count - len(found.points))
    open_ = later + sum(not one.followed.has_ended for one in found.points)
    if open_:
        told.append(f"{formatting.counted(open_, 'point')} of {sweep.count} still to come: this may change")
    return told


def causes(found: Comparison) -> list[str]:
    """Why points failed, were refused or pruned: each reason once, with the points that it ended."""
    names: dict[str, list[str]] = {}
    for one in found.points:
        if one.followed.cause:
            names.setdefault(formatting.cut(one.followed.cause, 200), []).append(one.name)
    return [f"{formatting.some(those, _MOST_NAMED)}: {cause}" for cause, those in names.items()]


def _of_best(found: Comparison, best: RankedPoint) -> list[str]:
    if best.measured is None or best.checkpoint is None:
        return []
    pictures = formatting.counted(len(best.measured.held_back), "held-back picture")
    points = len(_ranked(found))
    file = best.checkpoint.name
    chosen = f"the lowest of {found.looks} checkpoints of {formatting.counted(points, 'point')}"
    told = [f"the loss of its {file} on {pictures} is {best.measured.loss:.4f}, {chosen}"]
    if found.tied:
        names = formatting.some([one.name for one in ordered(found) if one.standing is Standing.TIED], _MOST_NAMED)
        told.append(f"not told apart from it: {names}; each picture's loss was compared with its own")
    if found.other_noise:
        names = formatting.some(found.other_noise, _MOST_NAMED)
        told.append(f"not the same for all: {names}, so pictures got other noise, and the margins are wider")
    worse = [one.name for one in ordered(found) if one.standing is Standing.WORSE]
    if worse:
        told.append(f"clearly worse: {formatting.some(worse, _MOST_NAMED)}")
    return told


def _at_an_end(sweep: Sweep, found: Comparison, best: RankedPoint) -> list[str]:
    """What the best point has of the highest or lowest value that was tried."""
    told = []
    for axis in sweep.axes:
        try:
            tried = {float(one.followed.point.settings[axis.option]) for one in _ranked(found)}
            own = float(best.followed.point.settings[axis.option])
        except (KeyError, ValueError):
            continue
        if len(tried) > 1 and own in {min(tried), max(tried)}:
            end = "highest" if own == max(tried) else "lowest"
            told.append(f"its {axis.option} is the {end} that was tried: a better one may lie beyond")
    return told


def _ranked(found: Comparison) -> list[RankedPoint]:
    return [one for one in found.points if one.standing is not Standing.UNMEASURED]


def data(sweep: Sweep, found: Comparison) -> dict[str, object]:
    """For scripts."""
    return {
        "name": sweep.name, "kind": sweep.kind, "preset": sweep.preset, "way": sweep.way.value,
        "made": sweep.made.isoformat(), "count": sweep.count, "output": str(sweep.output),
        "axes": [{"option": axis.option, "values": list(axis.values),
                  "range": None if axis.range is None else [axis.range.low, axis.range.high]} for axis in sweep.axes],
        "best": None if found.best is None else found.best.name,
        "checkpoint": _file(found.best), "sure": found.is_sure, "unlike": list(found.unlike),
        "caches": sweep.caches, "reasons": reasons(sweep, found), "points": [_point(one) for one in found.points],
    }  # fmt: skip


def _point(one: RankedPoint) -> dict[str, object]:
    followed, measured = one.followed, one.measured
    return {
        "name": one.name, "settings": dict(followed.point.settings), "token": followed.point.token,
        "job": followed.job_id, "state": followed.state, "waits_for": followed.waits_for,
        "run": None if followed.run is None else str(followed.run.folder), "cause": followed.cause,
        "held_back": None if measured is None else measured.loss, "step": None if measured is None else measured.step,
        "checkpoint": _file(one), "behind": facts.difference(one.behind), "standing": one.standing.value,
    }  # fmt: skip


def _file(one: RankedPoint | None) -> str | None:
    return None if one is None or one.checkpoint is None else str(one.checkpoint)


def ordered(found: Comparison) -> Sequence[RankedPoint]:
    """The best first; what was not measured last, as it was made."""
    return sorted(found.points, key=lambda one: (one.measured is None, one.measured.loss if one.measured else 0.0))
