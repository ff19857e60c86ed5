"""docs/silent.md: every row says what becomes of it, and names a test that is there."""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import number_silent

ROOT = Path(__file__).parents[1]
ROWS = number_silent.rows(number_silent.DOCUMENT.read_text(encoding="utf-8"))


@cache
def names_in(path: str) -> frozenset[str]:
    """The names of the tests in a file; empty where there is no such file."""
    file = ROOT / path
    tree = ast.parse(file.read_text(encoding="utf-8")) if file.is_file() else ast.Module([], [])
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:50])
def test_every_way_has_a_state_and_a_test_that_is_there(row: list[str]) -> None:
    state = number_silent.state(row)

    assert state
    if state == "Open":
        assert row[2] == "none"
    else:
        path, _, name = row[2].partition("::")
        assert name.startswith("test_")
        assert name in names_in(path), row[2]


def test_there_are_at_least_forty_and_they_are_numbered_and_counted() -> None:
    text = number_silent.DOCUMENT.read_text(encoding="utf-8")

    assert len([row for row in ROWS if number_silent.state(row) != "Open"]) >= 40
    assert number_silent.numbered(text) == text


def test_no_way_is_told_twice() -> None:
    told = [row[0].partition(". ")[2] for row in ROWS]

    assert len(set(told)) == len(told)
