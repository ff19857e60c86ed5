"""The known failures: the files in `signatures/`, read once when a log is first examined."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from sdxl_train_cli import untrusted_files
from sdxl_train_cli.failures.signature import Signature

FOLDER = Path(__file__).with_name("signatures")
FILES = ("machine", "files", "settings", "packages", "stages", "cluster")
"""Files in matching order: specific rows come before general ones that could match the same text."""
SHARED = "shared"
"""File of texts shared by several rows."""
SHARED_WORDS = re.compile(r"<<([a-z-]+)(?: ([^<>]+))?>>")
"""Fields in which a row refers to shared texts: by name and, for os-error, error numbers."""


@cache
def load() -> tuple[Signature, ...]:
    """Every known failure in matching order. ValueError names the invalid row."""
    shared: dict[str, str] = {}
    for name, words in _table(SHARED).items():  # one may use those above it
        shared[name] = SHARED_WORDS.sub(lambda taken: shared.get(taken[1], taken[0]), str(words))
    return tuple(signature for file in FILES for signature in _signatures(file, shared))


def by_name(name: str) -> Signature:
    """The known failure of this name."""
    return next(signature for signature in load() if signature.name == name)


def _signatures(file: str, shared: Mapping[str, str]) -> Iterator[Signature]:
    rows = _table(file)["signature"]
    for row in rows if isinstance(rows, list) else ():
        try:
            yield Signature.model_validate({key: _in_full(key, value, shared) for key, value in row.items()})
        except (KeyError, ValueError) as error:
            raise ValueError(f"{file}.toml, {row.get('name', 'a row without a name')}: {error}") from error


def _table(file: str) -> dict[str, object]:
    path = FOLDER / f"{file}.toml"
    return untrusted_files.toml_table(path.read_text(encoding="utf-8"), path.name)


def _in_full(key: str, value: object, shared: Mapping[str, str]) -> object:
    """A row's value with references to shared texts replaced. A sample stays as it is."""
    if isinstance(value, list):
        return [_in_full(key, part, shared) for part in value]
    if not isinstance(value, str) or key == "sample":
        return value
    return with_shared(value, shared)


def with_shared(words: str, shared: Mapping[str, str]) -> str:
    """Words with references to shared texts replaced."""
    return SHARED_WORDS.sub(lambda taken: shared[taken[1]].replace("<<numbers>>", taken[2] or ""), words)
