"""A YAML file of options: what is read, and the words for what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_train_cli.errors import RecipeError
from sdxl_train_cli.recipes import yaml_file


def value_of(text: str) -> object:
    entry = yaml_file.parse(f"key: {text}", "file.yaml").get("key")
    assert entry is not None
    return entry.value


def refusal_of(text: str, nested: tuple[str, ...] = ()) -> str:
    with pytest.raises(RecipeError) as caught:
        yaml_file.parse(text, "file.yaml", nested)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("32", 32),
        ("1_000", 1000),
        ("0", 0),
        ("010", 10),
        ("-1", -1),
        ("1.0e-4", 1e-4),
        ("0.05", 0.05),
        ("true", True),
        ("no", False),
        ("On", True),
        ("bf16", "bf16"),
        ("'64'", "64"),
        ("[a=1, b=2]", ("a=1", "b=2")),
        ("[1024, 1024]", (1024, 1024)),
        ("[]", ()),
    ],
)
def test_plain_values_come_in_their_type(text: str, value: object) -> None:
    assert value_of(text) == value
    assert type(value_of(text)) is type(value)


@pytest.mark.parametrize("text", ["1e-4", "2024-02-09", "1:30", "0x1F", ".inf", ".nan", "1.0e+999", "9" * 5000])
def test_what_yaml_makes_something_odd_of_stays_as_typed(text: str) -> None:
    assert value_of(text) == text


@pytest.mark.parametrize("text", ["", "null", "~"])
def test_nothing_and_null_are_none(text: str) -> None:
    assert value_of(text) is None


def test_every_key_knows_its_line() -> None:
    document = yaml_file.parse("# a comment\nfirst: 1\n\nsecond: 2\n", "file.yaml")

    assert [(entry.key, entry.line) for entry in document.entries] == [("first", 2), ("second", 4)]
    assert str(document.where(document.entries[1])) == "file.yaml:4"


def test_an_empty_file_has_no_entries() -> None:
    assert yaml_file.parse("# nothing yet\n", "file.yaml").entries == ()


def test_a_key_that_the_file_lacks_is_none() -> None:
    assert yaml_file.parse("a: 1", "file.yaml").get("b") is None


def test_a_mapping_is_read_where_it_is_asked_for() -> None:
    document = yaml_file.parse("model: base.safetensors\nset:\n  network_dim: 64\n", "file.yaml", nested=("set",))

    entry = document.get("set")
    assert entry is not None
    assert entry.entries == (yaml_file.YamlEntry("network_dim", 64, 3),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n- b\n", "file.yaml: does not hold `option: value` lines"),
        ("just text", "does not hold `option: value` lines"),
        ("seed: 1\nseed: 2\n", "file.yaml:2: 'seed' is set a second time (first in line 1)"),
        ("a:\n  b: 1\n", "file.yaml:1: 'a' takes a value or a list, not a mapping"),
        ("a: [[1]]\n", "'a' takes a list of plain values"),
        ("a: [1, null]\n", "'a' has an empty value in its list"),
        ("a: &x [1]\nb: [*x, *x]\n", "file.yaml:2: 'b' takes a list of plain values"),
        ("a: !!python/name:os.system ''\n", "has the tag !!python/name:os.system"),
        ("a: !!binary aGk=\n", "has the tag !!binary"),
        ("a: 1\n\tb: 2\n", "file.yaml:2: a tab is used where YAML allows only spaces"),
        ("a: [1\n", "file.yaml:2: is not YAML"),
        ("a: 1\n---\nb: 2\n", "file.yaml:2: a second document begins here"),
        ("a: 1\nb: \x07\n", "file.yaml:2: holds a character that YAML does not allow"),
        ('a: "\\UFFFFFFFF"\n', "invalid escape"),
        ("[1, 2]: a\n", "file.yaml:1: a key must be a name"),
        ("a: " + "[" * 20000, "is nested too deeply"),
        ("<<: {a: 1}\n", "'<<' takes a value or a list, not a mapping"),
    ],
)
def test_what_is_no_plain_option_is_refused_with_its_line(text: str, words: str) -> None:
    assert words in refusal_of(text)


def test_a_nested_mapping_holds_no_further_mapping() -> None:
    assert "file.yaml:3: 'a' takes a value" in refusal_of("x: 1\nset:\n  a: {b: 1}\n", nested=("set",))


def test_a_mapping_that_holds_itself_is_refused() -> None:
    assert "takes a value or a list" in refusal_of("set: &me\n  set: *me\n", nested=("set",))


def test_what_is_wrong_many_times_in_one_line_is_told_once() -> None:
    """Nine lists of lists in one value made nine times the same sentence."""
    with pytest.raises(RecipeError) as caught:
        yaml_file.parse("a: &x [1]\nb: [*x, *x, *x]\n", "some.yaml")

    assert len(caught.value.problems) == 1


def test_everything_that_is_wrong_is_told_at_once() -> None:
    text = refusal_of("a: {}\nb: 1\nb: 2\nc: [[]]\n")

    assert [line.partition(": ")[0] for line in text.splitlines()] == ["file.yaml:1", "file.yaml:3", "file.yaml:4"]


def test_a_file_is_read_with_or_without_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfseed: 1\r\nname: \xc3\xa9\r\n")

    document = yaml_file.load(path, "a.yaml")

    assert [(entry.key, entry.value, entry.line) for entry in document.entries] == [("seed", 1, 1), ("name", "é", 2)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: 1\nb: \xe9\n", "a.yaml:2: is not UTF-8"),
        ("a: 1".encode("utf-16"), "a.yaml: is UTF-16"),
        (b"# " + b"x" * yaml_file.SIZE_LIMIT_BYTES, "a.yaml: cannot be read: a.yaml is larger than 131,072 bytes"),
    ],
)
def test_a_file_that_is_no_text_of_options_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content)

    with pytest.raises(RecipeError) as caught:
        yaml_file.load(path, "a.yaml")

    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["absent.yaml", "nul\0.yaml", "."])
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecipeError, match=r"^shown\.yaml: cannot be read: "):
        yaml_file.load(tmp_path / name, "shown.yaml")


@given(st.text())
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    try:
        document = yaml_file.parse(text, "file.yaml", nested=("set",))
    except RecipeError as error:
        assert error.problems  # noqa: PT017 - either way is right
    else:
        assert document.shown == "file.yaml"


@given(st.text(st.characters(codec="utf-8")))
def test_quoted_text_reads_back_as_it_was(text: str) -> None:
    assert "\n" not in yaml_file.quoted(text)
    assert value_of(yaml_file.quoted(text)) == text
