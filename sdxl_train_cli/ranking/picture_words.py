"""What pictures say of a verdict, in words. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Iterator

from sdxl_train_cli import formatting
from sdxl_train_cli.ranking.evidence import Candidate
from sdxl_train_cli.ranking.picture_scores import Measure, MeasuredScore, PictureFindings, PictureScore, PictureScores
from sdxl_train_cli.ranking.verdict import PictureChoice, Verdict

WEIGHTS = (
    "how much pictures weigh: a suspected copy rules a file and strength out, whatever its loss; then the loss "
    "decides; likeness and faithfulness, alike, choose among files that it can't tell apart, and the strength"
)
HEADINGS = ("checkpoint", "strength", "likeness", "faithfulness", "variety", "copies")
_NEEDS = {
    "dino": "likeness is left out: DINOv2 is not here; --dino FOLDER names one",
    "clip": "faithfulness to the prompt is left out: CLIP is not here; --clip FOLDER names one",
}
_MOST_NAMED = 4
_NONE = "-"


def reasons(found: Verdict) -> Iterator[str]:
    """What the pictures say, and how sure that is. Nothing where there are none."""
    choice, scores = found.pictured, found.evidence.pictures
    if not scores:
        return
    if choice is None:
        yield f"no picture of {found.best.candidate.moment} was drawn, so the pictures decide nothing"
        return
    if choice.all_copy:
        yield "every file and strength that was drawn has suspected copies of training pictures: look at the page"
    elif choice.copying:
        yield f"suspected copies of training pictures, which rule out: {_places(choice.copying)}"
    if choice.candidate.path != found.best.candidate.path:
        why = "the lowest loss" if found.best.measured is not None else "the last file"
        yield f"by {why} alone it would have been {found.best.candidate.moment}"
    yield from _levels(choice, scores)
    if choice.is_narrow:
        yield "seeds change little: its pictures of one prompt are less than half as varied as the base model's"


def doubts(pictures: PictureFindings) -> Iterator[str]:
    """What could not be looked at, and why."""
    for model, reason in sorted(pictures.left_out.items()):
        yield f"{_NEEDS[model]}{f' ({formatting.cut(reason, 160)})' if reason else ''}"
    if pictures.unread:
        yield f"pictures that can't be read: {pictures.unread}"


def _levels(choice: PictureChoice, scores: PictureScores) -> Iterator[str]:
    for measure in (Measure.LIKENESS, Measure.FAITHFULNESS):
        level = [place for place, score in scores.items() if measure in score.level]
        if not level:
            continue
        if len(level) == len(scores) and len(level) > 1:
            yield f"by {measure.value}, no file or strength can be told from another with these pictures"
        elif measure in choice.level:
            beside = "" if len(level) == 1 else f", like {_others(len(level) - 1)} that can't be told from it"
            yield f"by {measure.value} it is the best of {len(scores)}{beside}"
        else:
            are = "is" if len(level) == 1 else "are"
            yield f"by {measure.value} {len(level)} of {len(scores)} files and strengths {are} better"


def _others(count: int) -> str:
    return "1 other" if count == 1 else f"{count} others"


def _places(places: tuple[tuple[Candidate, float], ...]) -> str:
    told = [f"{candidate.moment} at {strength:g}" for candidate, strength in places[:_MOST_NAMED]]
    more = f" and {len(places) - _MOST_NAMED} more" if len(places) > _MOST_NAMED else ""
    return ", ".join(told) + more


def table(found: Verdict, pictures: PictureFindings) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Every file and strength with what was found in its pictures, the base model first."""
    names = {one.candidate.path: one.candidate.moment for one in found.checkpoints}
    rows: list[tuple[str, ...]] = []
    rows += [] if pictures.base is None else [("base model", _NONE, *figures(pictures.base))]
    places = sorted(pictures.scores, key=lambda place: (list(names).index(place[0]), place[1]))
    rows += [(names[path], f"{at:g}", *figures(pictures.scores[path, at])) for path, at in places]
    return HEADINGS, rows


def figures(score: PictureScore) -> tuple[str, str, str, str]:
    """Its measures with their ranges, and its copies."""
    measures = map(figure, (score.likeness, score.faithfulness, score.variety))
    return (*measures, f"{score.copies} of {score.pictures}" if score.copies else "0")  # type: ignore[return-value]


def figure(found: MeasuredScore | None) -> str:
    """A mean and its range."""
    if found is None:
        return _NONE
    known = "" if found.low is None or found.high is None else f" ({found.low:.2f} to {found.high:.2f})"
    return f"{found.value:.2f}{known}"


def facts(pictures: PictureFindings) -> dict[str, object]:
    """The same as data for scripts."""
    return {
        "scores": [
            {"path": str(path), "strength": at, **_score(score)} for (path, at), score in pictures.scores.items()
        ],
        "base": None if pictures.base is None else _score(pictures.base),
        "copies": [
            {
                "picture": str(one.picture.path), "training": str(one.training), "distance": one.distance,
                "usual": one.usual, "by": one.by,
            }
            for one in pictures.copies
        ],
        "left_out": dict(pictures.left_out),
    }  # fmt: skip


def _score(score: PictureScore) -> dict[str, object]:
    measures = {Measure.LIKENESS: score.likeness, Measure.FAITHFULNESS: score.faithfulness,
                Measure.VARIETY: score.variety}  # fmt: skip
    found: dict[str, object] = {
        name.value: None if value is None else value.model_dump() for name, value in measures.items()
    }
    level = sorted(one.value for one in score.level)
    return {**found, "copies": score.copies, "pictures": score.pictures, "level": level}
