"""What pictures drawn with a run's checkpoints are found to be, looked at in the training environment.

inside/score_pictures.py looks. Likeness needs DINOv2 and faithfulness CLIP, in a folder or in the hub's cache; what is
not there is left out, with the reason. Copies and variety are told by pixels at least.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sdxl_train_cli import files
from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import SetupError

SCRIPT = "score_pictures.py"
_BASE = -1
"""The script's number for the base model alone."""


class Measure(str, Enum):
    """What pictures are compared by; higher is better."""

    LIKENESS = "likeness"
    FAITHFULNESS = "faithfulness"
    VARIETY = "variety"


class _FromScript(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class MeasuredScore(_FromScript):
    """A mean over prompts and seeds, with the range that holds 90 % of what others would give."""

    value: float
    low: float | None = None
    """None where there is one picture only."""
    high: float | None = None


class _PlaceAnswer(_FromScript):
    place: int
    likeness: MeasuredScore | None = None
    faithfulness: MeasuredScore | None = None
    variety: MeasuredScore | None = None


class _CopyAnswer(_FromScript):
    file: str
    place: int
    training: str
    distance: float
    usual: float
    by: str


class _ScriptAnswer(_FromScript):
    left_out: Mapping[str, str]
    unread: tuple[str, ...]
    places: tuple[_PlaceAnswer, ...]
    level: Mapping[str, tuple[int, ...]]
    copies: tuple[_CopyAnswer, ...]


@dataclass(frozen=True)
class DrawnPicture:
    """One picture, and what drew it."""

    path: Path
    checkpoint: Path | None
    """None is the base model alone."""
    strength: float
    prompt: int
    seed: int


@dataclass(frozen=True)
class DrawnPictures:
    """Pictures of one training's checkpoints, which all drew the same prompts."""

    pictures: tuple[DrawnPicture, ...]
    prompts: tuple[str, ...]
    are_samples: bool = False
    """Whether the run drew them itself while it trained."""


@dataclass(frozen=True)
class PictureScore:
    """What pictures drawn with one checkpoint at one strength were found to be; higher is better."""

    likeness: MeasuredScore | None = None
    faithfulness: MeasuredScore | None = None
    variety: MeasuredScore | None = None
    copies: int = 0
    """Pictures that are too near to one of the training's."""
    pictures: int = 0
    level: frozenset[Measure] = frozenset()
    """Measures by which it is the best, or can't be told from the best."""


PictureScores = Mapping[tuple[Path, float], PictureScore]
"""By checkpoint and strength."""


@dataclass(frozen=True)
class SuspectedCopy:
    """A drawing that is too near to a training picture."""

    picture: DrawnPicture
    training: Path
    distance: float
    usual: float
    """The distance of different pictures, by the same way of telling."""
    by: str
    """`pixels` or `dino`."""


@dataclass(frozen=True)
class PictureFindings:
    """All that was found in a training's pictures."""

    scores: PictureScores
    base: PictureScore | None
    """Of the base model alone, drawn for comparison."""
    copies: tuple[SuspectedCopy, ...]
    left_out: Mapping[str, str]
    """Why a model was not used, by `clip` or `dino`."""
    unread: int


@dataclass(frozen=True)
class ScoreModels:
    """Folders or hub names. A name that nobody typed is never downloaded."""

    clip: str = "openai/clip-vit-large-patch14"
    dino: str = "facebook/dinov2-base"
    typed: frozenset[str] = frozenset()


def score(
    installed: Environment, drawn: DrawnPictures, training: Sequence[Path], models: ScoreModels
) -> PictureFindings:
    """Look at the pictures. SetupError if the environment can't."""
    places: list[tuple[Path | None, float]] = list(
        dict.fromkeys((one.checkpoint, one.strength) for one in drawn.pictures if one.checkpoint is not None)
    )
    numbers = {place: number for number, place in enumerate(places)}
    request = {
        "pictures": [
            {
                "place": _BASE if one.checkpoint is None else numbers[one.checkpoint, one.strength],
                "prompt": one.prompt, "seed": one.seed, "file": str(one.path),
            }
            for one in drawn.pictures
        ],
        "prompts": drawn.prompts,
        "training": [str(path) for path in training],
        "clip": models.clip,
        "dino": models.dino,
        "named": sorted(models.typed),
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="sdxl-train-scores-") as folder:
        file = Path(folder, "request.json")
        files.write(file, json.dumps(request))
        found = environment.run_script(installed, SCRIPT, str(file))
    try:
        return _joined(_ScriptAnswer.model_validate(found), drawn, places)
    except (ValueError, LookupError) as error:
        raise SetupError(f"the environment does not work: {SCRIPT} printed something else") from error


def _joined(
    answer: _ScriptAnswer, drawn: DrawnPictures, places: Sequence[tuple[Path | None, float]]
) -> PictureFindings:
    # Files with the same weights share their pictures: a file alone does not say whose it is.
    known = {(str(one.path), (one.checkpoint, one.strength)): one for one in drawn.pictures}
    copies = tuple(
        SuspectedCopy(known[one.file, places[one.place]], Path(one.training), one.distance, one.usual, one.by)
        for one in answer.copies
    )
    scores: dict[tuple[Path, float], PictureScore] = {}
    base = None
    for one in answer.places:
        checkpoint, strength = (None, 0.0) if one.place == _BASE else places[one.place]
        mine = [each for each in drawn.pictures if (each.checkpoint, each.strength) == (checkpoint, strength)]
        made = PictureScore(
            one.likeness, one.faithfulness, one.variety,
            copies=sum(each.picture in mine for each in copies),
            pictures=len(mine),
            level=frozenset(measure for measure in Measure if one.place in answer.level.get(measure.value, ())),
        )  # fmt: skip
        if checkpoint is None:
            base = made
        else:
            scores[checkpoint, strength] = made
    return PictureFindings(scores, base, copies, answer.left_out, len(answer.unread))
