"""The documentation's site: what is made for it is complete, and it builds without a warning."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import docs_pages

from sdxl_train_cli import cli
from sdxl_train_cli.sdscripts import shipped

ROOT = Path(__file__).parents[1]
needs_mkdocs = pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not here: pip install -e .[docs]"
)


def typed_commands() -> Iterator[str]:
    for words, row in cli.each_command():
        is_other_kind = row.function == "sweep.adding.train" and words[1] != "lora"
        if words[:2] != ("queue", "add") and not is_other_kind:  # told once, with the kinds
            yield " ".join(words)


def test_the_reference_has_every_command_and_its_options() -> None:
    page = docs_pages.commands_page()

    headings = " ".join(re.findall(r"^## (.*)$", page, re.MULTILINE)).replace(",", "")
    assert [name for name in typed_commands() if name not in headings] == []
    for flag in ("`-m, --model MODEL`", "`--gpu-memory GB`", "`--on-oom stop|step-down`".replace("|", "\\|"), "`RUN`"):
        assert flag in page


@pytest.mark.parametrize("release", docs_pages.RELEASES)
def test_the_reference_has_every_option_of_a_known_release(release: str) -> None:
    page = docs_pages.options_page(release)

    names = {option.name for options in shipped.table(release).scripts.values() for option in options}
    assert {name for name in names if f"| `{name}` |" not in page} == set()


def test_a_moved_page_links_to_what_it_meant() -> None:
    text = (
        "[a](docs/guide/pictures.md#masks) [b](CONTRIBUTING.md) [c](https://example.invalid/x) [d](docs/ru/guide/a.md)"
    )

    assert docs_pages.moved(text, "index.md") == (
        "[a](guide/pictures.md#masks) [b](contributing.md) [c](https://example.invalid/x) [d](ru/guide/a.md)"
    )
    assert docs_pages.moved(text, "ru/index.md").startswith("[a](../guide/pictures.md#masks) [b](../contributing.md)")


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    navigation = set(re.findall(r"[\w/.-]+\.md", yaml.safe_dump(yaml.safe_load(text[text.index("nav:") :]))))
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}

    assert navigation == written | set(docs_pages.pages())


@needs_mkdocs
def test_the_site_builds_without_a_warning_and_asks_no_other_machine(tmp_path: Path) -> None:
    site = tmp_path / "site"
    argv = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    ran = subprocess.run(
        argv, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stderr
    assert "WARNING" not in ran.stderr
    for page in site.rglob("*.html"):
        fetched = re.findall(r'<(?:script|img|link)\b[^>]*\b(?:src|href)="(https?:[^"]*)"', page.read_text("utf-8"))
        assert fetched == [], page
