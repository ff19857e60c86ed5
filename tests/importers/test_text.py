"""How values are read, compared and written: nothing changes its meaning on the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_train_cli import untrusted_files
from sdxl_train_cli.errors import RecipeError
from sdxl_train_cli.importers import option_translation, values
from sdxl_train_cli.recipe import Scalar, Value
from sdxl_train_cli.recipes import yaml_file

SCALARS = st.booleans() | st.integers(-(10**17), 10**17) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
LISTS = st.lists(SCALARS, max_size=4).map(tuple)


def read(line: str) -> object:
    return yaml_file.parse(line, "some.yaml").entries[0].value


@given(SCALARS)
def test_a_value_is_written_so_that_it_reads_back(value: Scalar) -> None:
    again = read(yaml_file.line("option", value))

    assert (again, type(again)) == (value, type(value))


@given(LISTS)
def test_a_list_is_written_so_that_it_reads_back(value: tuple[Scalar, ...]) -> None:
    again = read(yaml_file.line("option", value))

    assert isinstance(again, tuple)
    assert [(part, type(part)) for part in again] == [(part, type(part)) for part in value]


@pytest.mark.parametrize(
    "value", ["yes", "no", "null", "~", "1e5", "0x1F", "2020-01-01", "on", ".inf", "=", "a: b", ""]
)
def test_text_that_yaml_would_take_for_something_else_is_quoted(value: str) -> None:
    assert read(yaml_file.line("option", value)) == value


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 1.0), (1024, "1024,1024"), ("5e-05", 0.00005), ((1.0,), (1,)), (("a=1", "b=2"), ("b=2", "a=1"))],
)
def test_values_that_mean_the_same_are_the_same(one: Value, other: Value) -> None:
    assert option_translation.means_same(one, other)


@pytest.mark.parametrize(
    ("one", "other"), [(0, False), (1, True), (0, None), ("", None), ("1024,768", 1024), ((1, 2), (2, 1))]
)
def test_zero_is_neither_off_nor_absent(one: Value, other: Value | None) -> None:
    assert not option_translation.means_same(one, other)


@pytest.mark.parametrize(
    "text",
    [
        r"C:\pictures",
        "D:/x",
        "/home/a/b",
        "~/x",
        r"\\server\share",
        "see /mnt/data/x",
        "a=/etc/passwd",
        "../x",
        "%TEMP%",
        "$HOME",
    ],
)
def test_a_place_on_a_machine_is_known(text: str) -> None:
    assert values.names_a_path(text)


@pytest.mark.parametrize("text", ["https://example.org/a/b", "and/or", "1/2", "50% of it", "a = b", "style, 3D"])
def test_what_is_no_place_on_a_machine_is_left_alone(text: str) -> None:
    assert not values.names_a_path(text)


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1, "a": 2}', '{"a": ' * 2000, '{"a": ' + "9" * 9999 + "}", "{}x"])
def test_json_that_is_doubtful_is_refused(text: str) -> None:
    with pytest.raises(RecipeError):
        untrusted_files.json_object(text, "some.json")


@pytest.mark.parametrize("text", ["a = 1\na = 2", "a = [" * 2000, "a = " + "9" * 9999, "[a]\n[a]", "a = 1 b"])
def test_toml_that_is_doubtful_is_refused(text: str) -> None:
    with pytest.raises(RecipeError):
        untrusted_files.toml_table(text, "some.toml")


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,9}", fullmatch=True), SCALARS.filter(lambda one: "\r" not in str(one))))
def test_a_toml_is_written_so_that_it_reads_back(table: dict[str, Scalar]) -> None:
    try:
        text = untrusted_files.toml_text(table)
        text.encode()
    except UnicodeEncodeError:
        return
    assert untrusted_files.toml_table(text, "some.toml") == table
