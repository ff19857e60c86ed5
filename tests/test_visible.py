r"""Text from outside is shown as text: nothing of it is obeyed by a terminal, and a line stays one line."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_train_cli import visible

DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
UNSEEN = "\ufeff" + "".join(map(chr, range(0xE0000, 0xE0080)))
ANY = st.text(st.characters() | st.sampled_from(DIRECTIONS + UNSEEN))


def obeyed(text: str) -> list[str]:
    """What a terminal would not show as a letter; what ends a line or fills a column is looked at apart."""
    return [
        letter
        for letter in text
        if letter in DIRECTIONS + UNSEEN or unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"}
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\rb\x08\x7f\x9b", r"a\rb\x08\x7f\x9b"),
        ("one\nerror: two", r"one\nerror: two"),
        ("cat\u202egpj.exe", r"cat\u202egpj.exe"),
        ("\u061c\u200e\u200f\ufeff", r"\u061c\u200e\u200f\ufeff"),
        ("cat\U000e0063", r"cat\U000e0063"),
        ("\udcff \ud800 \u2028", r"\xff \ud800 \u2028"),
        ("a\tb é ж 猫 👩\u200d👧", "a\tb é ж 猫 👩\u200d👧"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text: str, shown: str) -> None:
    assert visible.line(text) == shown


@given(ANY)
def test_a_line_stays_one_line_of_letters(text: str) -> None:
    assert set(obeyed(visible.line(text))) <= {"\t"}


@given(ANY)
def test_lines_keep_their_ends_and_nothing_else(text: str) -> None:
    shown = visible.lines(text)

    assert set(obeyed(shown)) <= {"\t", "\n"}
    assert shown.count("\n") == text.count("\n")


@given(st.dictionaries(ANY, ANY | st.lists(ANY)))
def test_json_reads_back_as_it_was(found: dict[str, object]) -> None:
    text = visible.as_json(found)

    assert json.loads(text) == json.loads(json.dumps(found))
    assert not obeyed(text)


def test_figures_that_json_does_not_have_are_no_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        visible.as_json([float("nan")])
