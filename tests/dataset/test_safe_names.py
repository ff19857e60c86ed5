"""Names that Windows takes as well, and no two of which are one there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_train_cli.dataset import safe_names


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("кот и пёс [1]", "кот и пёс [1]"),
        ("a\nb", "a_b"),
        ('what? "x"', "what_ _x_"),
        ("con", "con_"),
        ("x. ", "x"),
        ("...", "_"),
        ("\udcff", "_"),
    ],
)
def test_what_windows_can_not_hold_is_replaced(name: str, safe: str) -> None:
    assert safe_names.safe(name) == safe


@given(st.text())
def test_every_name_becomes_one_that_can_be_kept(name: str) -> None:
    safe = safe_names.safe(name)

    assert 0 < len(safe.encode()) <= safe_names.LONGEST_STEM + 4
    assert not set(safe) & set('<>:"/\\|?*\n\r\0')
    assert safe[-1] not in ". "


def test_a_taken_name_is_numbered_also_where_only_the_case_differs() -> None:
    names = safe_names.UniqueNames(["cat"])

    assert [names.take(name) for name in ("dog", "Cat", "CAT", "dog")] == ["dog", "Cat-2", "CAT-3", "dog-2"]


def test_one_letter_spelled_in_two_ways_is_one() -> None:
    names = safe_names.UniqueNames(["caf\u00e9"])

    assert names.take("cafe\u0301") == "cafe\u0301-2"
