"""docs/architecture.md is what the code is today."""

from __future__ import annotations

import sys
from itertools import chain
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import draw_architecture
from draw_architecture import START, STRAIGHT_LINE


def test_the_page_is_what_the_script_makes_of_the_code() -> None:
    written = draw_architecture.PAGE.read_text(encoding="utf-8")

    assert written == draw_architecture.page(), "python scripts/draw_architecture.py --write"


@pytest.mark.parametrize("name", sorted({*STRAIGHT_LINE, *chain.from_iterable(STRAIGHT_LINE.values())}))
def test_each_function_of_the_straight_line_exists(name: str) -> None:
    assert draw_architecture.definition(name).name == name.rpartition(".")[2]


@pytest.mark.parametrize(
    ("calls", "words"),
    [
        (("run.preparation.prepared",), "there is no such function"),
        (("records.runs.write",), "does not call records.runs.write"),
        (tuple(reversed(STRAIGHT_LINE[START])), "in another order"),
    ],
)
def test_a_line_that_is_not_true_is_not_drawn(
    monkeypatch: pytest.MonkeyPatch, calls: tuple[str, ...], words: str
) -> None:
    monkeypatch.setitem(STRAIGHT_LINE, START, calls)

    with pytest.raises(LookupError, match=words):
        draw_architecture.page()
