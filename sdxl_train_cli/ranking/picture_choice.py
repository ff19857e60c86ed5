"""What drawn pictures change of a verdict.

A suspected copy rules a file and strength out, whatever its loss. Then the loss decides. Pictures choose among files
that the loss can't tell apart, and the strength: those level with the best by likeness and by faithfulness come first.
"""

from __future__ import annotations

from pathlib import Path

from sdxl_train_cli.inspection import strengths
from sdxl_train_cli.inspection.strengths import Strength
from sdxl_train_cli.ranking.picture_scores import Measure, PictureScore
from sdxl_train_cli.ranking.verdict import Basis, PictureChoice, RankedCheckpoint, Standing, Verdict

_NARROW = 0.5
"""Less variety than this share of the base's: seeds no longer change much."""


def choose(found: Verdict, base: PictureScore | None) -> PictureChoice | None:
    """The file and strength to keep. None where no picture of the file with the best loss was drawn."""
    scores = found.evidence.pictures
    ranked = {one.candidate.path: one for one in found.checkpoints if one.standing is not Standing.BROKEN}
    drawn = [place for place in scores if place[0] in ranked]
    if not any(path == found.best.candidate.path for path, _strength in drawn):
        return None
    copying = [place for place in drawn if scores[place].copies]
    pool = [place for place in drawn if place not in copying] or drawn
    nearest = min(_distance(ranked[path], found.basis) for path, _strength in pool)
    pool = [place for place in pool if _distance(ranked[place[0]], found.basis) == nearest]
    wanted = strengths.FULL if found.strength is None else found.strength.figure

    def merit(place: tuple[Path, float]) -> tuple[int, bool, bool, float]:
        score = scores[place]
        level = len(score.level & {Measure.LIKENESS, Measure.FAITHFULNESS})
        is_best = ranked[place[0]].standing is Standing.BEST
        return level, not is_narrow(score, base), is_best, -abs(place[1] - wanted)

    path, strength = max(pool, key=merit)
    score = scores[path, strength]
    return PictureChoice(
        candidate=ranked[path].candidate,
        strength=Strength.exactly(strength)
        if found.strength is not None and len({at for _, at in drawn}) > 1
        else found.strength,
        copying=tuple((ranked[place].candidate, at) for place, at in copying),
        all_copy=len(copying) == len(drawn),
        is_narrow=is_narrow(score, base),
        level=score.level,
        score=score,
    )


def is_narrow(score: PictureScore, base: PictureScore | None) -> bool:
    """Whether its pictures of one prompt are much more alike than the base's."""
    known = base.variety if base is not None else None
    return score.variety is not None and known is not None and score.variety.value < _NARROW * known.value


def _distance(one: RankedCheckpoint, basis: Basis) -> int:
    """How far it stands behind the best by its loss: not at all, unknown, or clearly."""
    if one.standing in {Standing.BEST, Standing.TIED}:
        return 0
    if one.standing is Standing.UNMEASURED:
        return 0 if basis is Basis.FILES else 1
    return 2
