"""What people read and type from: README.md, the guide, the notebook and the Dockerfile, and the commands in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
GUIDE = tuple(sorted((ROOT / "docs" / "guide").glob("*.md")))
ENGLISH = (README, *GUIDE)
NOTEBOOK = ROOT / "docs" / "colab.ipynb"
DOCKERFILE = ROOT / "Dockerfile"
_SCRIPTS = "python scripts/"


def russian(page: Path) -> Path:
    """The Russian page of an English one."""
    return ROOT / "README.ru.md" if page == README else ROOT / "docs" / "ru" / "guide" / page.name


def lines(page: Path) -> list[str]:
    return page.read_text(encoding="utf-8").splitlines()


def block_commands(page: Path) -> list[str]:
    """Commands in code blocks, without their comments."""
    typed = (line.partition("#")[0].strip() for line in lines(page))
    return [line for line in typed if line.startswith(("sdxl-train ", _SCRIPTS, "uv ", "pipx "))]


def inline_commands(page: Path) -> list[str]:
    """Commands between backticks: in prose and in tables."""
    return [words for line in lines(page) for words in re.findall(r"`(sdxl-train [^`]+)`", line)]


def commands(page: Path) -> list[str]:
    """Every command of ours on a page, once."""
    found = [line for line in block_commands(page) if line.startswith("sdxl-train ")]
    return list(dict.fromkeys([*found, *inline_commands(page)]))


def notebook_commands() -> list[str]:
    """Commands of the notebook's cells: `!sdxl-train ...`."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    typed = "".join("".join(cell["source"]) + "\n" for cell in cells if cell["cell_type"] == "code")
    return [line[1:] for line in typed.splitlines() if line.startswith("!sdxl-train ")]


def docker_commands() -> list[str]:
    """Commands that building the image runs, and those that its comments name."""
    text = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    run = [part.strip() for line in text.splitlines() if line.startswith("RUN ") for part in line[4:].split("&&")]
    shown = re.findall(r"^#   docker run .* (sdxl-train .*)$", text, re.MULTILINE)
    return [part for part in (*run, *shown) if part.startswith("sdxl-train ")]


def headings(page: Path) -> list[int]:
    """The level of each heading, in order."""
    return [len(found[1]) for found in _outside_blocks(page, r"(#+) ")]


def tables(page: Path) -> list[list[str]]:
    """Each row of the tables: the code of its cells, in order, and how many cells it has."""
    rows = _outside_blocks(page, r"\|(.*)\|")
    return [[str(row[1].count("|")), *re.findall(r"`([^`]+)`", row[1])] for row in rows]


def links(page: Path) -> list[str]:
    """The addresses of links and pictures."""
    return re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))


def _outside_blocks(page: Path, pattern: str) -> Iterator[re.Match[str]]:
    is_code = False
    for line in lines(page):
        if line.startswith("```"):
            is_code = not is_code
        elif not is_code and (found := re.match(pattern, line)):
            yield found
