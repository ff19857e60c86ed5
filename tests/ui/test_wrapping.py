"""Lines break at words, and what is to be typed stays whole."""

from __future__ import annotations

import pytest

from sdxl_train_cli.ui import wrapping


def test_a_line_breaks_between_words_and_hangs_below_its_label() -> None:
    lines = wrapping.wrap("the base predicts epsilon and nothing else", 24, hanging=7)

    assert lines == ["the base predicts", "       epsilon and", "       nothing else"]


@pytest.mark.parametrize(
    "typed",
    ["`sdxl-train lora --data pictures/`", "--set 'network_args=conv_dim=8 conv_alpha=4'", "sdxl-train runs show cat"],
)
def test_what_is_to_be_typed_is_not_broken(typed: str) -> None:
    lines = wrapping.wrap(f"to try it again: {typed}", 30)

    assert lines == ["to try it again:", typed]


def test_an_indented_line_goes_on_below_itself() -> None:
    assert wrapping.wrap("    one two three", 12) == ["    one two", "    three"]


def test_wide_characters_count_twice() -> None:
    assert wrapping.wrap("猫猫 猫猫", 6) == ["猫猫", "猫猫"]


@pytest.mark.parametrize("text", ["", "   ", "word", "a  b"])
def test_nothing_is_lost(text: str) -> None:
    assert wrapping.wrap(text, 80) == [text]
