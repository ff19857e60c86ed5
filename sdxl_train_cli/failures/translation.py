"""Causes and remedies in Russian, where there are any: the rows of `russian.toml`, by the names of signatures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from sdxl_train_cli import untrusted_files
from sdxl_train_cli.failures import known_failures

_FILE = Path(__file__).with_name("russian.toml")
NOTES = "notes"
"""The row of what remedies add for a GPU."""


@cache
def rows() -> Mapping[str, Mapping[str, str]]:
    """Cause and remedy of each failure that is told in Russian, with shared texts in place."""
    found = untrusted_files.toml_table(_FILE.read_text(encoding="utf-8"), _FILE.name)
    shared: dict[str, str] = {}
    for name, words in _texts(found.pop("shared")).items():  # one may use those above it
        shared[name] = known_failures.with_shared(words, shared)
    return {
        name: {part: known_failures.with_shared(words, shared) for part, words in _texts(row).items()}
        for name, row in found.items()
    }


def _texts(row: object) -> dict[str, str]:
    return {str(part): str(words) for part, words in row.items()} if isinstance(row, dict) else {}
