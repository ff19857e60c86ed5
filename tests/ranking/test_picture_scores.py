"""What the training environment says of pictures, joined with what drew them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.ranking import picture_scores
from sdxl_train_cli.ranking.picture_scores import DrawnPicture, DrawnPictures, Measure, PictureFindings, ScoreModels

ONE, OTHER = Path("step 6.safetensors"), Path("final.safetensors")
SHARED = DrawnPicture(Path("shared.png"), ONE, 1.0, 0, 1000)
DRAWN = DrawnPictures(
    (
        DrawnPicture(Path("base.png"), None, 0.0, 0, 1000),
        SHARED,
        DrawnPicture(Path("shared.png"), OTHER, 1.0, 0, 1000),
        DrawnPicture(Path("mild.png"), OTHER, 0.6, 0, 1000),
    ),
    ("a boat",),
)  # fmt: skip
ANSWER = {
    "left_out": {"clip": ""},
    "unread": ["broken.png"],
    "places": [
        {"place": place, "likeness": {"value": 0.5, "low": None, "high": None}, "faithfulness": None, "variety": None}
        for place in (-1, 0, 1, 2)
    ],
    "level": {"likeness": [0, 2]},
    "copies": [
        {"file": "shared.png", "place": place, "training": "boat.png", "distance": 0.1, "usual": 0.5, "by": "pixels"}
        for place in (0, 1)
    ],
    "usual": {"pixels": 0.5},
}


def scored(monkeypatch: pytest.MonkeyPatch, answer: object) -> tuple[PictureFindings, dict[str, Any]]:
    """The findings of a script that answers so, and what it was asked."""
    asked: list[dict[str, Any]] = []

    def answering(_installed: object, _script: str, request: str) -> object:
        asked.append(json.loads(Path(request).read_text(encoding="utf-8")))
        return answer

    monkeypatch.setattr(environment, "run_script", answering)
    models = ScoreModels("clip here", typed=frozenset({"clip here"}))
    return picture_scores.score(Environment.model_construct(), DRAWN, [Path("boat.png")], models), asked[0]


def test_each_place_gets_its_scores_its_copies_and_what_it_is_level_with(monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked = scored(monkeypatch, ANSWER)

    assert [one["place"] for one in asked["pictures"]] == [-1, 0, 1, 2]
    assert (asked["clip"], asked["dino"], asked["named"]) == ("clip here", "facebook/dinov2-base", ["clip here"])
    assert {place: (score.copies, score.pictures, score.level) for place, score in found.scores.items()} == {
        (ONE, 1.0): (1, 1, {Measure.LIKENESS}), (OTHER, 1.0): (1, 1, set()), (OTHER, 0.6): (0, 1, {Measure.LIKENESS}),
    }  # fmt: skip
    assert found.base is not None
    assert [(one.picture.checkpoint, one.picture.path) for one in found.copies] == [
        (ONE, SHARED.path), (OTHER, SHARED.path),
    ]  # fmt: skip
    assert found.unread == 1


@pytest.mark.parametrize("answer", [{}, {**ANSWER, "places": [{"place": 9}]}, {**ANSWER, "copies": [{"file": "x"}]}])
def test_an_answer_of_another_kind_is_the_environments_fault(monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
    with pytest.raises(SetupError, match="printed something else"):
        scored(monkeypatch, answer)
