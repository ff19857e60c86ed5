"""Prompts for samples are made of the trigger and of what captions have in common."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import write_pictures

from sdxl_train_cli.dataset import prompt_drafting, sources, survey
from sdxl_train_cli.dataset.prompt_drafting import DraftedPrompts


def drafted(folder: Path, captions: list[str], trigger: str | None = "zkz") -> DraftedPrompts:
    write_pictures(folder, len(captions), None)
    for number, caption in enumerate(captions):
        (folder / f"{number}.txt").write_text(caption, encoding="utf-8")
    found = sources.scan(folder, regularisation=None, repeats=None, trigger=trigger)
    return prompt_drafting.draft(survey.survey(found))


def test_tags_give_a_close_prompt_another_setting_and_the_plain_trigger(tmp_path: Path) -> None:
    found = drafted(tmp_path / "d", ["zkz, 1girl, red hair, forest", "zkz, 1girl, red hair, smile", "zkz, 1girl, hat"])

    assert found.are_tags
    assert found.prompts == ("zkz, 1girl, red hair, forest", "zkz, 1girl, city, night, neon lights", "zkz")


def test_tags_that_never_stand_together_are_not_put_together(tmp_path: Path) -> None:
    captions = ["zkz, 1girl, day"] * 3 + ["zkz, 1girl, night"] * 2

    assert drafted(tmp_path / "d", captions).prompts[0] == "zkz, 1girl, day"


def test_the_tags_of_a_trigger_of_several_stand_once_in_a_prompt(tmp_path: Path) -> None:
    found = drafted(tmp_path / "d", ["zkz, red hair, 1girl, smile"] * 3, "zkz, red hair")

    assert found.prompts[0] == "zkz, red hair, 1girl, smile"


def test_quality_tags_are_used_only_where_the_captions_use_them(tmp_path: Path) -> None:
    with_them = drafted(tmp_path / "with", ["zkz, 1girl, masterpiece, best quality"] * 3)
    without = drafted(tmp_path / "without", ["zkz, 1girl, solo"] * 3)

    assert with_them.prompts[-1] == "zkz, best quality, masterpiece"
    assert not any("quality" in prompt for prompt in without.prompts)


def test_brackets_of_a_tag_are_no_weights(tmp_path: Path) -> None:
    found = drafted(tmp_path / "d", ["zkz, 1girl, miku (vocaloid)", "zkz, 1girl, rin \\(vocaloid\\), miku (vocaloid)"])

    assert found.prompts[0].startswith("zkz, 1girl, miku \\(vocaloid\\)")


def test_sentences_give_a_whole_caption_with_the_trigger(tmp_path: Path) -> None:
    captions = ["a photo of zkz woman sitting in a cafe", "a photo of a woman in a park by a tree"]

    found = drafted(tmp_path / "d", captions, "zkz woman")

    assert not found.are_tags
    assert found.prompts[0] in {captions[0], f"zkz woman, {captions[1]}"}
    assert found.prompts[1:] == ("a photo of zkz woman in a forest", "a photo of zkz woman")


def test_a_trigger_that_captions_lack_stands_in_every_prompt(tmp_path: Path) -> None:
    for name, captions in {"tags": ["1girl, solo, hat"] * 2, "told": ["a cat on a wall beside a house"] * 2}.items():
        assert all("zkz" in prompt for prompt in drafted(tmp_path / name, captions).prompts)


def test_what_would_be_a_flag_or_a_comment_is_neither(tmp_path: Path) -> None:
    found = drafted(tmp_path / "d", ["#zkz, 1girl --w 9000, solo"] * 2, "#zkz")

    assert all(" --" not in prompt and not prompt.startswith("#") for prompt in found.prompts)


@pytest.mark.parametrize(("captions", "trigger"), [(["1girl, solo, hat"], None), ([], "zkz")])
def test_without_trigger_or_captions_there_is_nothing_to_ask(
    tmp_path: Path, captions: list[str], trigger: str | None
) -> None:
    if captions:
        assert drafted(tmp_path / "d", captions, trigger).prompts == ()


def test_pictures_with_the_trigger_alone_give_one_prompt_more_than_the_trigger(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "d", 3, None)
    found = sources.scan(folder, regularisation=None, repeats=None, trigger="ohwx")

    assert prompt_drafting.draft(survey.survey(found)).prompts == ("ohwx", "ohwx in a forest")
