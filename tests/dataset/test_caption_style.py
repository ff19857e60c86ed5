"""Captions are tags or sentences, and may tell the trigger."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import write_pictures

from sdxl_train_cli.dataset import caption_style, sources, survey


def style(data: Path) -> caption_style.CaptionStyle:
    return caption_style.look(survey.survey(sources.scan(data, regularisation=None, repeats=None, trigger=None)))


@pytest.mark.parametrize(
    ("caption", "are_tags"),
    [
        ("1girl, solo, red hair, looking at viewer", True),
        ("mika, 1girl, solo", True),
        ("a photo of a cat on a sofa", False),
        ("a woman with red hair, smiling at the camera, in a garden full of flowers", False),
        ("cat", False),
    ],
)
def test_tags_are_told_from_sentences(tmp_path: Path, caption: str, are_tags: bool) -> None:
    assert style(write_pictures(tmp_path / "data", caption=caption)).are_tags is are_tags


@pytest.mark.parametrize(
    ("caption", "trigger"),
    [("mika, 1girl, solo", "mika"), ("1girl, solo, smile", None), ("a cat on a sofa", None)],
)
def test_the_first_tag_of_all_captions_is_the_trigger(tmp_path: Path, caption: str, trigger: str | None) -> None:
    assert style(write_pictures(tmp_path / "data", caption=caption)).trigger == trigger


@pytest.mark.parametrize(
    ("captions", "common"),
    [
        (
            ("1girl, solo, mychar, red hair", "solo, 1girl, red hair, mychar", "1girl, mychar, red_hair, smile"),
            "mychar",
        ),
        (("1girl, solo, mychar", "1girl, smile, red hair", "1girl, mychar, smile"), None),
        (("1girl, solo, blue eyes", "1girl, blue eyes, smile", "smile, blue eyes, 1girl"), None),
    ],
)
def test_an_unusual_tag_of_all_captions_may_be_the_trigger(
    tmp_path: Path, captions: tuple[str, ...], common: str | None
) -> None:
    data = write_pictures(tmp_path / "data", caption="a")
    for number, text in enumerate(captions):
        (data / f"{number}.txt").write_text(text, encoding="utf-8")

    assert (style(data).trigger, style(data).common) == (None, common)


def test_the_class_of_the_only_numbered_folder_is_the_trigger(tmp_path: Path) -> None:
    write_pictures(tmp_path / "data" / "10_cat", caption=None)

    one = style(tmp_path / "data")
    write_pictures(tmp_path / "data" / "5_dog", caption=None)

    assert (one.trigger, style(tmp_path / "data").trigger) == ("cat", None)
    assert str(one) == "none"


def test_what_lacks_a_caption_is_counted(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "data", caption="a, b, c")
    (data / "0.txt").unlink()

    assert str(style(data)) == "tags; 1 of 3 pictures have none"
