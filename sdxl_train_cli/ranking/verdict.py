"""Judge a training's checkpoints. The verdict is data; words.py makes prose of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from statistics import median

from sdxl_train_cli.inspection import strengths
from sdxl_train_cli.inspection.strengths import Strength
from sdxl_train_cli.ranking.evidence import Candidate, Evidence
from sdxl_train_cli.ranking.picture_scores import Measure, PictureScore
from sdxl_train_cli.ranking.weight_course import CheckpointWeights
from sdxl_train_cli.records import picture_losses
from sdxl_train_cli.records.picture_losses import Difference, Validation

_FULL, _MILD = Strength.exactly(1.0), Strength.exactly(0.8)
"""Strengths to begin with. A loss is measured at the full one; the milder one is for a file that has begun to know its
pictures by heart. Files alone tell neither."""
_FEWEST_FILES = 3
_SETTLED = 0.2
"""Share of the fastest movement per step below which the weights no longer go anywhere."""
_LAST_PART = 0.7
"""Share of the steps at which the loss must have been clearly higher for it to be still falling at the end."""
_EXPLODED = 3.0
"""Growth of the norm from one checkpoint to the next, beside what is usual in this training."""
_FEW_PICTURES = 8
"""Fewer held-back pictures tell only large differences."""


class Basis(str, Enum):
    """What the verdict rests on."""

    VALIDATION = "validation"
    FILES = "files"


class Course(str, Enum):
    """How the training went."""

    STILL_FALLING = "still falling"
    """The last checkpoint has the lowest loss, clearly below the one before the last third: it may be under-trained."""
    TURNED = "turned"
    """The loss on held-back pictures has clearly risen after its lowest point."""
    LEVEL = "level"
    """The last checkpoints can't be told apart."""
    MOVING = "moving"
    """From files: the weights still moved at the end."""
    SETTLED = "settled"
    """From files: the weights hardly moved at the end."""
    BROKEN_OFF = "broken off"
    """From files: norms have exploded, or weights are no numbers."""
    UNKNOWN = "unknown"


class Standing(str, Enum):
    """A checkpoint beside the best one."""

    BEST = "best"
    TIED = "not told apart from it"
    WORSE = "clearly worse"
    UNMEASURED = "not measured"
    BROKEN = "broken"


class Improvement(str, Enum):
    """What could change the verdict, or make it surer."""

    HOLD_BACK = "hold back pictures"
    HOLD_BACK_MORE = "hold back more pictures"
    TRAIN_LONGER = "train longer"
    SAVE_MORE = "save more checkpoints"
    SAVE_EARLIER = "save earlier"
    DRAW = "draw samples"
    MATCH_RHYTHMS = "validate when a checkpoint is saved"


@dataclass(frozen=True)
class RankedCheckpoint:
    """One checkpoint, and why it stands where it does."""

    candidate: Candidate
    standing: Standing
    measured: Validation | None = None
    """The validation that speaks for it; its step may be another one than the file's."""
    behind: Difference | None = None
    """How much higher its loss is than the best's, picture by picture."""
    since_last: Difference | None = None
    """What came to the loss since the measured checkpoint before."""
    gap_growth: Difference | None = None
    """How much the gap has grown since the first measured checkpoint."""
    weights: CheckpointWeights | None = None


@dataclass(frozen=True)
class PictureChoice:
    """The file and strength to keep where pictures were drawn (picture_choice.py)."""

    candidate: Candidate
    strength: Strength | None
    copying: tuple[tuple[Candidate, float], ...]
    """Files and strengths with suspected copies."""
    all_copy: bool
    """Whether each of them has some, so that none could be chosen without."""
    is_narrow: bool
    """Whether its pictures of one prompt are much more alike than the base model's."""
    level: frozenset[Measure]
    """Measures by which it is the best, or can't be told from the best."""
    score: PictureScore


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Which checkpoint to keep, why, and how sure that is."""

    evidence: Evidence
    basis: Basis
    course: Course
    checkpoints: tuple[RankedCheckpoint, ...]
    """In the order of the training."""
    best: RankedCheckpoint
    strength: Strength | None
    """To begin with. None for what has no strength."""
    is_sure: bool
    """Whether some checkpoint is clearly worse, by what was measured."""
    gap_begins: tuple[int, int] | None
    improvements: tuple[Improvement, ...]
    rise: Difference | None = None
    """What the loss has risen by from the best to the last checkpoint, where it has turned."""
    pictured: PictureChoice | None = None
    """What drawn pictures make of it. None without any, or where they say nothing of the best file."""

    @property
    def kept(self) -> Candidate:
        """The file to keep, all told."""
        return self.best.candidate if self.pictured is None else self.pictured.candidate

    @property
    def kept_strength(self) -> Strength | None:
        """Its strength to begin with. None for what has no strength."""
        return self.strength if self.pictured is None else self.pictured.strength

    @property
    def tied(self) -> tuple[RankedCheckpoint, ...]:
        """Those that can't be told apart from the best."""
        return tuple(one for one in self.checkpoints if one.standing is Standing.TIED)


def judge(evidence: Evidence) -> Verdict:
    """The verdict of what is known."""
    measured = _measured(evidence)
    rows = list(zip(evidence.candidates, measured, _weights(evidence), strict=True))
    if any(one is not None for one in measured):
        return _from_validation(evidence, rows)
    return _from_files(evidence, rows)


_Row = tuple[Candidate, Validation | None, CheckpointWeights | None]


def _weights(evidence: Evidence) -> Sequence[CheckpointWeights | None]:
    return evidence.weights or [None] * len(evidence.candidates)


def _measured(evidence: Evidence) -> list[Validation | None]:
    """The validation of each checkpoint: at its own step, else the nearest within half of the usual distance."""
    steps = [one.step for one in evidence.validations]
    reach = median([later - earlier for earlier, later in pairwise(steps)]) / 2 if len(steps) > 1 else 0
    found: list[Validation | None] = []
    for candidate in evidence.candidates:
        step = candidate.step
        near = None if step is None else min(
            evidence.validations, key=lambda one, step=step: abs(one.step - step), default=None)  # type: ignore[misc]  # fmt: skip
        is_near = near is not None and step is not None and abs(near.step - step) <= reach
        found.append(near if is_near or (near is not None and near.step == step) else None)
    return found


def _from_validation(evidence: Evidence, rows: Sequence[_Row]) -> Verdict:
    known = [(candidate, measured) for candidate, measured, weights in rows
             if measured is not None and not _is_broken(weights)]  # fmt: skip
    if not known:
        return _from_files(evidence, rows)
    best_candidate, best = min(known, key=lambda pair: (pair[1].loss, not pair[0].is_final))
    first = known[0][1]
    comparisons = max(1, len({measured.step for _, measured in known}) - 1)
    ranked: list[RankedCheckpoint] = []
    before: Validation | None = None
    for candidate, measured, weights in rows:
        is_best = candidate is best_candidate
        behind = None if measured is None else picture_losses.change(best.held_back, measured.held_back, comparisons)
        ranked.append(_ranked(candidate, measured, weights, behind, before, first, is_best=is_best))
        before = measured or before
    chosen = next(one for one in ranked if one.candidate is best_candidate)
    rise = picture_losses.change(best.held_back, known[-1][1].held_back)  # the only one of its kind
    course = _course(ranked, chosen, rise)
    begins = picture_losses.gap_begins(evidence.validations)
    is_late = begins is not None and best.step >= begins[1] and course is Course.TURNED
    return Verdict(
        evidence=evidence, basis=Basis.VALIDATION, course=course, checkpoints=tuple(ranked), best=chosen,
        strength=_of_network(evidence, _MILD if is_late else _FULL),
        is_sure=any(one.standing is Standing.WORSE for one in ranked), gap_begins=begins,
        improvements=_improvements(evidence, ranked, course),
        rise=rise if course is Course.TURNED else None,
    )  # fmt: skip


def _ranked(  # noqa: PLR0913, PLR0917 - one row beside three others
    candidate: Candidate, measured: Validation | None, weights: CheckpointWeights | None,
    behind: Difference | None, before: Validation | None, first: Validation, *, is_best: bool,
) -> RankedCheckpoint:  # fmt: skip
    """One checkpoint, the distance to the best, and what came since the one before and the first."""
    if measured is None:
        standing = Standing.BROKEN if _is_broken(weights) else Standing.UNMEASURED
        return RankedCheckpoint(candidate, standing, weights=weights)
    return RankedCheckpoint(
        candidate,
        Standing.BEST if is_best else _standing(measured, behind, weights),
        measured,
        behind,
        None if before is None else picture_losses.change(before.held_back, measured.held_back),
        None if measured is first else picture_losses.gap_growth(first, measured),
        weights,
    )


def _is_broken(weights: CheckpointWeights | None) -> bool:
    return weights is not None and weights.nonfinite > 0


def _standing(measured: Validation | None, behind: Difference | None, weights: CheckpointWeights | None) -> Standing:
    if _is_broken(weights):
        return Standing.BROKEN
    if measured is None or behind is None:
        return Standing.UNMEASURED
    return Standing.WORSE if behind.is_clear and behind.mean > 0 else Standing.TIED


def _course(ranked: Sequence[RankedCheckpoint], best: RankedCheckpoint, rise: Difference | None) -> Course:
    """How it went. `rise` is from the best to the last."""
    if rise is not None and rise.is_clear and rise.mean > 0:
        return Course.TURNED
    measured = [one for one in ranked if one.measured is not None]
    last = measured[-1]
    if last.measured is None or best.measured is not last.measured:
        return Course.LEVEL
    looks = [one.measured for one in measured if one.measured is not None]
    earlier = [look for look in looks if look.step <= _LAST_PART * last.measured.step]
    fall = picture_losses.change(last.measured.held_back, earlier[-1].held_back) if earlier else None
    return Course.STILL_FALLING if fall is not None and fall.is_clear else Course.LEVEL


def _of_network(evidence: Evidence, strength: Strength) -> Strength | None:
    """The strength, or None for what has none."""
    return None if evidence.kind is not None and not evidence.kind.is_network else strength


def _improvements(evidence: Evidence, ranked: Sequence[RankedCheckpoint], course: Course) -> tuple[Improvement, ...]:
    held = min((len(one.measured.held_back) for one in ranked if one.measured is not None), default=0)
    off = any(one.measured is None or one.measured.step != one.candidate.step for one in ranked)
    measured = [one for one in ranked if one.measured is not None]
    found = {
        Improvement.TRAIN_LONGER: course is Course.STILL_FALLING,
        Improvement.SAVE_EARLIER: course is Course.TURNED and measured[0].standing is Standing.BEST,
        Improvement.HOLD_BACK_MORE: held < _FEW_PICTURES or any(one.standing is Standing.TIED for one in ranked),
        Improvement.MATCH_RHYTHMS: off,
        Improvement.SAVE_MORE: len(ranked) < _FEWEST_FILES,
        Improvement.DRAW: not evidence.pictures,
    }
    return tuple(improvement for improvement, applies in found.items() if applies)


def _from_files(evidence: Evidence, rows: Sequence[_Row]) -> Verdict:
    """Files alone tell a training that went wrong. They can't tell learning from learning by heart."""
    broken = _first_exploded([weights for _, _, weights in rows])
    sound = [candidate for at, (candidate, _, _) in enumerate(rows) if broken is None or at < broken]
    best = sound[-1] if sound else rows[0][0]
    ranked = tuple(
        RankedCheckpoint(candidate, Standing.BEST if candidate is best else
                         Standing.BROKEN if candidate not in sound else Standing.UNMEASURED, weights=weights)
        for candidate, _, weights in rows
    )  # fmt: skip
    wanted = [Improvement.HOLD_BACK] if evidence.kind is None or evidence.kind.is_network else []
    wanted += [Improvement.SAVE_MORE] if len(rows) < _FEWEST_FILES else []
    wanted += [Improvement.DRAW] if not evidence.pictures else []
    course = Course.BROKEN_OFF if broken is not None else _movement(evidence)
    return Verdict(
        evidence=evidence, basis=Basis.FILES, course=course, checkpoints=ranked,
        best=next(one for one in ranked if one.candidate is best), strength=_of_network(evidence, strengths.USUAL),
        is_sure=False, gap_begins=None, improvements=tuple(wanted),
    )  # fmt: skip


def _first_exploded(weights: Sequence[CheckpointWeights | None]) -> int | None:
    """The first checkpoint with weights that are no numbers, or with a norm that has leapt."""
    growths: list[float] = []
    before: float | None = None
    for at, one in enumerate(weights):
        if one is None:
            continue
        if one.nonfinite:
            return at
        if before and one.norm is not None:
            growth = one.norm / before
            if growth > _EXPLODED * max([1.0, *growths[-1:]]):
                return at
            growths.append(growth)
        before = one.norm
    return None


def _movement(evidence: Evidence) -> Course:
    """Whether the weights still went somewhere at the end, by what they moved in a step."""
    speeds = speeds_of(evidence)
    known = [speed for speed in speeds if speed is not None]
    if len(known) < _FEWEST_FILES - 1:
        return Course.UNKNOWN
    return Course.SETTLED if known[-1] < _SETTLED * max(known) else Course.MOVING


def speeds_of(evidence: Evidence) -> list[float | None]:
    """How far each checkpoint moved since the one before, for each step; None where it can't be told."""
    found: list[float | None] = [None]
    for (before, now), weights in zip(pairwise(evidence.candidates), list(_weights(evidence))[1:], strict=True):
        steps = None if before.step is None or now.step is None else now.step - before.step
        moved = None if weights is None else weights.moved
        found.append(None if moved is None or not steps else moved / steps)
    return found
