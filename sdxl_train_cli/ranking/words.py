"""A verdict in words. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Iterator

from sdxl_train_cli import formatting
from sdxl_train_cli.ranking import picture_words
from sdxl_train_cli.ranking.verdict import Basis, Course, Improvement, RankedCheckpoint, Standing, Verdict
from sdxl_train_cli.records.picture_losses import Difference

_UNKNOWN = "-"
_MOST_NAMED = 8
HEADINGS = ("checkpoint", "saved at", "held back", "trained on", "gap", "behind the best", "norm", "rank", "moved")
_FILES_ONLY = ("checkpoint", "saved at", "norm", "rank", "moved")
_IMPROVEMENTS = {
    Improvement.HOLD_BACK: "pictures that are held back (--validate): only they tell learning from learning by heart",
    Improvement.HOLD_BACK_MORE: "more held-back pictures (--set validation_split=0.2): they tell smaller differences",
    Improvement.TRAIN_LONGER: "a longer training: the loss on held-back pictures was still falling",
    Improvement.SAVE_MORE: "more checkpoints to choose from (--save-every)",
    Improvement.SAVE_EARLIER: "earlier checkpoints (--save-every): the first that was saved is already the best",
    Improvement.MATCH_RHYTHMS: "a validation at each checkpoint's own step (--set validate_every_n_steps=...)",
    Improvement.DRAW: "pictures drawn with the checkpoints, looked at by you: a loss does not see likeness or style",
}


def headline(found: Verdict) -> str:
    """The file to keep, in a line."""
    begin = "" if found.pictured is not None else " to begin with"
    strength = "" if found.kept_strength is None else f", strength {found.kept_strength.words}{begin}"
    return f"{found.kept.path.name} ({found.kept.moment}){strength}"


def reasons(found: Verdict) -> list[str]:
    """Why, and how sure that is."""
    seen = picture_words.reasons(found)
    known = _of_validation(found) if found.basis is Basis.VALIDATION else _of_files(found)
    whose = "" if found.kept == found.best.candidate else f"{found.best.candidate.moment}: "
    return [*seen, *(f"{whose}{reason}" for reason in known)]


def improvements(found: Verdict) -> list[str]:
    """What would change the verdict, or make it surer."""
    return [_IMPROVEMENTS[one] + _command(one, found) for one in found.improvements]


def _command(one: Improvement, found: Verdict) -> str:
    """What draws the pictures, where the run's record says on which base."""
    can_draw = one is Improvement.DRAW and found.evidence.is_a_run
    return f": sdxl-train best {formatting.shell_word(found.evidence.folder)} --draw" if can_draw else ""


def _of_validation(found: Verdict) -> Iterator[str]:
    best, measured = found.best, [one for one in found.checkpoints if one.measured is not None]
    if best.measured is None:
        return
    pictures = formatting.counted(len(best.measured.held_back), "held-back picture")
    checkpoints = formatting.counted(len(measured), "measured checkpoint")
    yield f"its loss on {pictures} is {best.measured.loss:.4f}, the lowest of {checkpoints}"
    if found.tied:
        names = _names(found.tied)
        yield f"not told apart from it: {names}; each picture's loss was compared with its own"
    worse = [one for one in measured if one.standing is Standing.WORSE]
    if worse:
        yield f"clearly worse: {_names(worse)}"
    yield from _course(found)
    unmeasured = [one for one in found.checkpoints if one.standing is Standing.UNMEASURED]
    if unmeasured:
        yield f"not measured, and not ranked: {_names(unmeasured)}"
    moved = [one for one in measured if one.measured and one.measured.step != one.candidate.step]
    if moved:
        told = ", ".join(f"{one.candidate.moment} by step {one.measured.step}" for one in moved[:5] if one.measured)
        yield f"judged by the nearest validation, which is not their own step: {told}"


def _course(found: Verdict) -> Iterator[str]:
    if found.course is Course.TURNED:
        rise = "" if found.rise is None else f" by {difference(found.rise)}"
        yield f"after it the loss rose{rise}: the training went on to learn its pictures by heart"
    elif found.course is Course.STILL_FALLING:
        yield "the loss was still falling at the end: more steps may be better still"
    elif found.course is Course.LEVEL:
        yield "towards the end the loss stayed level, within what these pictures can tell"
    growth = found.best.gap_growth
    if found.gap_begins is not None:
        before, after = found.gap_begins
        grown = "" if growth is None else f"; up to this file it grew by {difference(growth)}"
        yield f"the gap to pictures that are trained on began to grow between steps {before} and {after}{grown}"
    elif growth is not None:
        yield f"the gap to pictures that are trained on shows no clear growth: {difference(growth)} up to this file"


def _of_files(found: Verdict) -> Iterator[str]:
    problem = found.evidence.weights_problem
    if problem is not None:
        yield f"the weights could not be looked at: {problem}"
    kind = found.evidence.kind
    has_none = kind is not None and not kind.is_network
    why = "this kind's training has no validation" if has_none else "no loss on held-back pictures is recorded"
    yield f"{why}: this rests on the files alone, which can't tell learning from learning by heart"
    if found.course is Course.BROKEN_OFF:
        broken = [one for one in found.checkpoints if one.standing is Standing.BROKEN]
        yield f"it is the last before the weights leapt or were no numbers: {_names(broken)}"
    elif found.course is Course.SETTLED:
        yield "the weights hardly moved at the end, so the last files are almost the same: the last one will do"
    elif found.course is Course.MOVING:
        yield "the weights still moved at the end, so the files differ: compare pictures of the last and earlier ones"
    else:
        yield "it is the last one, and nothing in the files speaks against it or for another"


def table(found: Verdict) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """All checkpoints, with what was measured."""
    rows = [_row(one) for one in found.checkpoints]
    if found.basis is Basis.FILES:
        return _FILES_ONLY, [(*row[:2], *row[6:]) for row in rows]
    return HEADINGS, rows


def _row(one: RankedCheckpoint) -> tuple[str, ...]:
    measured, weights = one.measured, one.weights
    losses = (_UNKNOWN,) * 3 if measured is None else tuple(
        map(_loss, (measured.loss, measured.training_loss, measured.gap)))  # fmt: skip
    if one.standing is Standing.BEST:
        behind = "best"
    else:
        behind = one.standing.value if one.behind is None else difference(one.behind)
    figures = (None, None, None) if weights is None else (weights.norm, weights.rank, weights.moved)
    return (one.candidate.path.name, one.candidate.moment, *losses, behind, *map(_figure, figures))


def difference(found: Difference) -> str:
    """A difference with the margin that holds it in 95 of 100 cases."""
    margin = "" if found.margin == float("inf") else f" ± {found.margin:.4f}"
    return f"{found.mean:+.4f}{margin}"


def _loss(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.4f}"


def _figure(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.3g}"


def _names(ranked: tuple[RankedCheckpoint, ...] | list[RankedCheckpoint]) -> str:
    return formatting.some([one.candidate.moment for one in ranked], _MOST_NAMED)
