"""The Russian pages say what the English ones say: the same headings, commands, tables and links, in the same order."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

import pages
import pytest

PAIRS = pytest.mark.parametrize("page", pages.ENGLISH, ids=lambda page: page.name)
TYPED = re.compile(r"`(?:sdxl-train|--|hf |uvx |python )[^`]*`")


def test_every_page_has_a_russian_one_and_no_more() -> None:
    russian = {pages.russian(page) for page in pages.ENGLISH}

    assert {path for path in russian if not path.is_file()} == set()
    assert set((pages.ROOT / "docs" / "ru" / "guide").glob("*.md")) <= russian


@PAIRS
def test_the_headings_are_as_many_and_of_the_same_levels(page: Path) -> None:
    assert pages.headings(pages.russian(page)) == pages.headings(page)


@PAIRS
def test_the_commands_are_the_same(page: Path) -> None:
    english, russian = page, pages.russian(page)

    assert pages.block_commands(russian) == pages.block_commands(english)
    assert sorted(pages.inline_commands(russian)) == sorted(pages.inline_commands(english))


@PAIRS
def test_flags_in_the_text_are_the_same(page: Path) -> None:
    english, russian = (TYPED.findall(one.read_text(encoding="utf-8")) for one in (page, pages.russian(page)))

    assert sorted(russian) == sorted(english)


@PAIRS
def test_the_tables_have_the_same_rows_and_the_same_code_in_them(page: Path) -> None:
    assert pages.tables(pages.russian(page)) == pages.tables(page)


@PAIRS
def test_the_figures_of_the_tables_are_the_same(page: Path) -> None:
    def figures(one: Path) -> list[list[str]]:
        return [re.findall(r"\d+(?:\.\d+)?", line) for line in pages.lines(one) if line.startswith("|")]

    assert figures(pages.russian(page)) == figures(page)


@pytest.mark.parametrize("page", [*pages.ENGLISH, *map(pages.russian, pages.ENGLISH)], ids=str)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    for link in pages.links(page):
        target, _, heading = link.partition("#")
        if target.startswith("https:"):
            continue
        path = page.parent / target if target else page
        assert path.exists(), link
        assert not heading or heading in {anchor(line) for line in pages.lines(path) if line.startswith("#")}


def anchor(heading: str) -> str:
    """What a heading is called in an address."""
    return re.sub(r"[^\w -]", "", heading.lstrip("# ").lower()).replace(" ", "-")


@PAIRS
def test_the_russian_page_links_to_the_same_places(page: Path) -> None:
    def targets(one: Path) -> list[str]:
        here = one.relative_to(pages.ROOT).parent.as_posix()
        found = (posixpath.normpath(f"{here}/{link.partition('#')[0]}") for link in pages.links(one) if ":" not in link)
        return sorted(re.sub(r"^docs/ru/", "docs/", link) for link in found)

    assert [link for link in targets(pages.russian(page)) if link != "README.md"] == [
        link for link in targets(page) if link != "README.ru.md"
    ]
