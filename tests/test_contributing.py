"""CONTRIBUTING.md names what is there: its words, its files, its commands."""

from __future__ import annotations

import importlib
import re
from itertools import accumulate
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
GLOSSARY = TEXT[TEXT.index("## Words") : TEXT.index("## Add a rule")]
ROWS = [line.split("|") for line in GLOSSARY.splitlines() if line.startswith("|")][2:]
NAMES = sorted({name for *_, where, _end in ROWS for name in re.findall(r"`([^`]+)`", where)})


def is_there(name: str) -> bool:
    """A path of the project, or a module, a class of it, a field of that."""
    if "/" in name:
        return (ROOT / name).exists()
    *_, module = (found for found in accumulate(name.split("."), "{}.{}".format) if is_module(found))
    found: object = importlib.import_module(f"sdxl_train_cli.{module}")
    for part in name.removeprefix(module).split(".")[1:]:
        if not hasattr(found, part):
            return part in getattr(found, "__annotations__", {})
        found = getattr(found, part)
    return True


def is_module(name: str) -> bool:
    path = ROOT / "sdxl_train_cli" / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def test_the_glossary_is_read() -> None:
    assert len(NAMES) > 30


@pytest.mark.parametrize("name", NAMES)
def test_what_a_word_stands_for_is_there(name: str) -> None:
    assert is_there(name)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"(?<![\w-])(?:tests|scripts|docs)/[\w/]+\.\w+\b", TEXT))))
def test_a_file_that_is_named_is_there(path: str) -> None:
    assert (ROOT / path).is_file()
