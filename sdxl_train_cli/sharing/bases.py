"""Which base a file was trained on, and what that base's licence asks. What no row of bases.toml tells isn't known."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from sdxl_train_cli import untrusted_files
from sdxl_train_cli.sdscripts import checkpoint

TABLE = Path(__file__).with_name("bases.toml")


class Commerce(str, Enum):
    """Whether a licence lets people earn money with a model and what is derived from it."""

    FREE = "free"
    CONSENT = "consent"
    """Only where its author agrees."""
    FORBIDDEN = "forbidden"


@dataclass(frozen=True)
class Licence:
    """A licence, and what it asks of whoever shares a file that was made with it."""

    id: str
    name: str
    link: str | None
    hub: Mapping[str, str]
    """What a model card's head says."""
    asks: tuple[str, ...] = ()
    same_licence: bool = False
    """Whether what is derived is shared under the same licence. Then others may derive from that too."""
    commerce: Commerce = Commerce.FREE


@dataclass(frozen=True)
class Base:
    """The base of a file, as far as it is known."""

    name: str
    """Of a known base, else its hub id, what was typed, or a file's name that tells the kin. Empty if unknown."""
    file: str | None = None
    """The file's name that image programs may have it by."""
    hub: str | None = None
    """Its id on the hub, where that is sure."""
    civitai: str | None = None
    """Of what kind the site lists it. None if nothing tells."""
    licence: Licence | None = None
    is_kin: bool = False
    """Whether `civitai` is told by its name alone."""
    known_by: str | None = None
    """What told a known base: its checksum, or a name. None if it is no known one."""


@dataclass(frozen=True)
class BaseSigns:
    """What names a base."""

    names: tuple[str, ...] = ()
    """Files' names and hub ids, the surest first."""
    sha256: str | None = None
    is_typed: bool = False
    """Whether a person has just named it."""


@dataclass(frozen=True)
class _KnownBase:
    base: Base
    names: frozenset[str]
    sha256: str | None = None


def of(signs: BaseSigns) -> Base:
    """The base that the signs name. A checksum is surer than a name: files are renamed."""
    names = [name for name in signs.names if name]
    for row in _known():
        if signs.sha256 is not None and signs.sha256 == row.sha256:
            return replace(row.base, known_by="checksum")
    for row in _known():
        if any(_bare(name) in row.names for name in names[:1]):
            return replace(row.base, known_by="id" if checkpoint.is_hub_id(names[0]) else "file name")
    if not names:
        return Base("")
    name = names[0]
    is_id = checkpoint.is_hub_id(name)
    shown = name if is_id else Path(name).name
    kin = _kin(names)
    return Base(
        name=shown if is_id or signs.is_typed or kin else "",
        file=f"{name.rpartition('/')[2]}.safetensors" if is_id else shown,
        hub=name if is_id else None,
        civitai=kin,
        is_kin=kin is not None,
    )


def licence(words: str) -> Licence:
    """The licence that was typed: a row by its id or name, or any other name, which is taken as it stands."""
    known = (each for each in _licences().values() if words.strip().lower() in {each.id, each.name.lower()})
    return next(known, Licence(words, words, None, {"license": words}))


def _bare(name: str) -> str:
    """A name to compare: no folders but the hub's, no suffix, no case."""
    is_id = checkpoint.is_hub_id(name)
    return (name if is_id else re.sub(r"\.(?:safetensors|ckpt)$", "", Path(name).name)).lower()


def _kin(names: list[str]) -> str | None:
    for row in _table()["family"]:
        if any(re.search(row["words"], name.lower()) for name in names):
            return str(row["civitai"])
    return None


@cache
def _known() -> tuple[_KnownBase, ...]:
    return tuple(
        _KnownBase(
            Base(row["name"], f"{row['files'][0]}.safetensors", row["hub"], row["civitai"],
                 _licences()[row["licence"]]),
            frozenset(map(str.lower, (row["hub"], *row["files"]))),
            row.get("sha256"),
        )
        for row in _table()["base"]
    )  # fmt: skip


@cache
def _licences() -> Mapping[str, Licence]:
    return {
        row["id"]: Licence(row["id"], row["name"], row["link"], row["hub"], tuple(row["asks"]),
                           row.get("same_licence", False), Commerce(row.get("commerce", Commerce.FREE)))
        for row in _table()["licence"]
    }  # fmt: skip


@cache
def _table() -> Any:  # noqa: ANN401 - TOML of our own
    return untrusted_files.toml_table(TABLE.read_text(encoding="utf-8"), TABLE.name)
