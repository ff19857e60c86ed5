"""What drawn pictures change of a verdict by losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sdxl_train_cli.inspection.strengths import Strength
from sdxl_train_cli.ranking import picture_choice, picture_words, words
from sdxl_train_cli.ranking.evidence import Candidate, Evidence
from sdxl_train_cli.ranking.picture_scores import Measure, MeasuredScore, PictureFindings, PictureScore
from sdxl_train_cli.ranking.verdict import Basis, Course, PictureChoice, RankedCheckpoint, Standing, Verdict

LOWEST, TIED, WORSE = Path("b.safetensors"), Path("c.safetensors"), Path("a.safetensors")
STANDINGS = {WORSE: Standing.WORSE, LOWEST: Standing.BEST, TIED: Standing.TIED}
LIKE = frozenset({Measure.LIKENESS})


def chosen(scores: Mapping[tuple[Path, float], PictureScore], base: PictureScore | None = None) -> PictureChoice | None:
    return picture_choice.choose(verdict(scores), base)


def verdict(scores: Mapping[tuple[Path, float], PictureScore], strength: float | None = 1.0) -> Verdict:
    ranked = tuple(
        RankedCheckpoint(Candidate(path, path.stem, step, 1), standing)
        for step, (path, standing) in enumerate(STANDINGS.items())
    )
    evidence = Evidence("run", Path("run"), tuple(one.candidate for one in ranked), pictures=scores)
    return Verdict(
        evidence=evidence, basis=Basis.VALIDATION, course=Course.LEVEL, checkpoints=ranked, best=ranked[1],
        strength=None if strength is None else Strength.exactly(strength),
        is_sure=True, gap_begins=None, improvements=(),
    )  # fmt: skip


def place(choice: PictureChoice | None) -> tuple[Path, float | None] | None:
    return None if choice is None else (choice.candidate.path, choice.strength and choice.strength.figure)


def test_without_anything_to_choose_by_the_loss_and_its_strength_stay() -> None:
    assert place(chosen({(path, at): PictureScore() for path in STANDINGS for at in (0.6, 1.0)})) == (LOWEST, 1.0)


def test_a_suspected_copy_outranks_a_lower_loss() -> None:
    copying = {(LOWEST, 1.0): PictureScore(copies=1), (LOWEST, 0.6): PictureScore(copies=2)}

    assert place(chosen({**copying, (TIED, 1.0): PictureScore()})) == (TIED, 1.0)
    assert place(chosen({**copying, (WORSE, 1.0): PictureScore()})) == (WORSE, 1.0)


def test_a_lower_strength_without_copies_is_taken_first() -> None:
    scores = {(LOWEST, 1.0): PictureScore(copies=1), (LOWEST, 0.6): PictureScore(), (WORSE, 1.0): PictureScore()}

    choice = chosen(scores)

    assert place(choice) == (LOWEST, 0.6)
    assert choice is not None
    assert [(candidate.path, at) for candidate, at in choice.copying] == [(LOWEST, 1.0)]


def test_pictures_choose_among_files_that_the_loss_cant_tell_apart_and_no_others() -> None:
    scores = {
        (LOWEST, 1.0): PictureScore(), (TIED, 0.8): PictureScore(level=LIKE), (WORSE, 1.0): PictureScore(level=LIKE),
    }  # fmt: skip

    assert place(chosen(scores)) == (TIED, 0.8)


def test_one_strength_alone_says_nothing_of_the_best_one() -> None:
    scores = {(LOWEST, 1.0): PictureScore(), (TIED, 1.0): PictureScore()}

    assert place(picture_choice.choose(verdict(scores, strength=0.8), None)) == (LOWEST, 0.8)


def test_where_all_copy_the_loss_decides_and_it_is_said() -> None:
    choice = chosen({(LOWEST, 1.0): PictureScore(copies=1), (TIED, 1.0): PictureScore(copies=1)})

    assert place(choice) == (LOWEST, 1.0)
    assert choice is not None
    assert choice.all_copy


def test_seeds_that_change_little_speak_against_a_file() -> None:
    wide, narrow = (PictureScore(variety=MeasuredScore(value=value)) for value in (0.5, 0.1))

    assert place(chosen({(LOWEST, 1.0): narrow, (TIED, 1.0): wide}, wide)) == (TIED, 1.0)


def test_pictures_of_other_files_alone_decide_nothing_and_it_is_said() -> None:
    scores = {(TIED, 1.0): PictureScore(level=LIKE)}

    assert chosen(scores) is None
    assert list(picture_words.reasons(verdict(scores))) == ["no picture of b was drawn, so the pictures decide nothing"]


def test_what_has_no_strength_gets_none() -> None:
    found = verdict({(LOWEST, 1.0): PictureScore()}, None)
    found = replace(found, pictured=picture_choice.choose(found, None))

    assert (found.kept.path, found.kept_strength) == (LOWEST, None)
    assert words.headline(found) == "b.safetensors (b)"


def test_the_words_say_what_rules_out_and_what_cant_be_told_apart() -> None:
    scores = {(LOWEST, 1.0): PictureScore(copies=1, level=LIKE), (TIED, 1.0): PictureScore(level=LIKE)}
    found = PictureFindings(scores, None, (), {"dino": "", "clip": "x: no such folder"}, 1)
    told = replace(verdict(scores), pictured=chosen(scores))

    assert words.headline(told) == "c.safetensors (c), strength 1"
    assert list(picture_words.reasons(told)) == [
        "suspected copies of training pictures, which rule out: b at 1",
        "by the last file alone it would have been b",
        "by likeness, no file or strength can be told from another with these pictures",
    ]
    assert list(picture_words.doubts(found)) == [
        "faithfulness to the prompt is left out: CLIP is not here; --clip FOLDER names one (x: no such folder)",
        "likeness is left out: DINOv2 is not here; --dino FOLDER names one",
        "pictures that can't be read: 1",
    ]
