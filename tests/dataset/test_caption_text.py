"""Captions of any editor become one clean line of UTF-8, or it is said that they can't be read."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_train_cli.dataset import caption_text

RUSSIAN = "рыжая кошка сидит на диване, большое окно, солнце"
GERMAN = "schöner Hund mit Mütze\ngroße Wiese, blauer Himmel"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["a cat, grass", "a cat, кот, 猫"])
def test_unicode_is_read_with_its_mark_and_without(encoding: str, text: str) -> None:
    found = caption_text.decode(text.encode(encoding), None)

    assert found is not None
    assert found[0] == text


def test_utf_16_of_the_other_order_is_read_by_its_mark() -> None:
    assert caption_text.decode(codecs.BOM_UTF16_BE + "кот".encode("utf-16-be"), None) == ("кот", "utf-16")


@pytest.mark.parametrize(
    ("text", "page"), [(RUSSIAN, "cp1251"), (RUSSIAN, "koi8_r"), (RUSSIAN, "cp866"), (GERMAN, "cp1250")]
)
def test_a_code_page_is_told_from_what_all_captions_say_together(text: str, page: str) -> None:
    contents = [part.encode(page) for part in text.replace(",", "\n").splitlines()]

    assert caption_text.detect_code_page(contents) == page


def test_a_code_page_that_can_not_be_told_is_not_guessed() -> None:
    assert caption_text.detect_code_page(["кошка".encode("cp1251")]) is None
    assert caption_text.decode("кошка".encode("cp1251"), None) is None


def test_a_code_page_does_not_matter_where_all_read_the_same() -> None:
    assert caption_text.detect_code_page([GERMAN.encode("cp1252")]) in {"cp1250", "cp1252"}


def test_an_encoding_that_does_not_fit_reads_nothing() -> None:
    assert caption_text.decode(b"\xff\xfe\x00", None) is None
    assert caption_text.decode("кот".encode("cp1251"), "ascii") is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("  a cat \r\n", "a cat"),
        ("a cat\nsits\n\n on grass.\nBig", "a cat, sits, on grass. Big"),
        ("a\tcat,\n sitting", "a cat, sitting"),
        ("\ufeffa cat\u200b\x00", "a cat"),
        ("\n \n", ""),
    ],
)
def test_a_caption_becomes_one_line(text: str, line: str) -> None:
    assert caption_text.clean(text) == line


@given(st.text())
def test_a_clean_caption_is_one_line_and_stays_as_it_is(text: str) -> None:
    clean = caption_text.clean(text)

    assert clean == clean.strip()
    assert len(clean.splitlines()) <= 1
    assert caption_text.clean(clean) == clean


@pytest.mark.parametrize(
    ("caption", "led"),
    [
        ("a cat, grass", "ohwx cat, a cat, grass"),
        ("ohwx cat, grass", "ohwx cat, grass"),
        ("Ohwx Cat sits", "Ohwx Cat sits"),
        ("grass, OHWX CAT, sun", "ohwx cat, grass, sun"),
        ("ohwx cats, grass", "ohwx cat, ohwx cats, grass"),
        ("", "ohwx cat"),
    ],
)
def test_the_trigger_is_put_first_once(caption: str, led: str) -> None:
    assert caption_text.put_trigger_first(caption, "ohwx cat") == led
    assert caption_text.put_trigger_first(led, "ohwx cat") == led


def test_a_few_letters_over_and_over_are_not_taken_for_another_alphabet() -> None:
    assert caption_text.detect_code_page([f"кот {number}".encode("cp1251") for number in (10, 100, 1, 0, 2, 3)]) is None


def test_a_few_letters_that_every_windows_code_page_reads_alike_are_read() -> None:
    page = caption_text.detect_code_page([f"a “cat” {number}".encode("cp1252") for number in range(6)])

    assert caption_text.decode("“cat”".encode("cp1252"), page) == ("“cat”", page)
