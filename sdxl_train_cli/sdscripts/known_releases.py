"""Releases of sd-scripts that are known here, and how another one differs from the nearest of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from sdxl_train_cli import untrusted_files
from sdxl_train_cli.sdscripts import shipped
from sdxl_train_cli.sdscripts.options import Option, OptionTable

_FILE = Path(__file__).with_suffix(".toml")
_SHOWN = 5
"""Names shown of one kind of difference."""


@dataclass(frozen=True)
class KnownRelease:
    """One release, a row of the data file."""

    name: str
    commit: str
    """Full hash."""
    date: date
    source: str
    networks: frozenset[str]
    """Modules in its folder `networks`."""


@dataclass(frozen=True)
class Differences:
    """What another sd-scripts has more, less and otherwise than a known release."""

    release: str
    more: tuple[str, ...]
    fewer: tuple[str, ...]
    defaults: tuple[str, ...]
    """Options whose default is another."""
    more_networks: tuple[str, ...]
    fewer_networks: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.more + self.fewer + self.defaults + self.more_networks + self.fewer_networks)

    @property
    def words(self) -> str:
        """All of them in a line, each kind with its first names."""
        kinds = (
            (self.more, "option more", "options more"),
            (self.fewer, "option fewer", "options fewer"),
            (self.defaults, "default differs", "defaults differ"),
            (self.more_networks, "network module more", "network modules more"),
            (self.fewer_networks, "network module fewer", "network modules fewer"),
        )
        told = (
            f"{len(names)} {one if len(names) == 1 else many} ({_first(names)})" for names, one, many in kinds if names
        )
        return f"compared with {self.release}: {', '.join(told)}"


@cache
def load() -> tuple[KnownRelease, ...]:
    """Every known release, the newest first."""
    rows: Any = untrusted_files.toml_table(_FILE.read_text(encoding="utf-8"), _FILE.name)["release"]
    return tuple(KnownRelease(**{**row, "networks": frozenset(row["networks"])}) for row in rows)


def at(commit: str) -> KnownRelease | None:
    """The release of this commit."""
    return next((release for release in load() if release.commit == commit), None)


def nearest(table: OptionTable, networks: Collection[str]) -> Differences:
    """What differs from the known release that is most like this sd-scripts."""
    return min((_differences(table, frozenset(networks), release) for release in load()), key=lambda found: found.count)


def _differences(table: OptionTable, networks: frozenset[str], release: KnownRelease) -> Differences:
    here, there = _by_name(table), _by_name(shipped.table(release.name))
    both = sorted(here.keys() & there.keys())
    return Differences(
        release.name,
        more=tuple(sorted(here.keys() - there.keys())),
        fewer=tuple(sorted(there.keys() - here.keys())),
        defaults=tuple(name for name in both if here[name].default != there[name].default),
        more_networks=tuple(sorted(networks - release.networks)),
        fewer_networks=tuple(sorted(release.networks - networks)),
    )


def _by_name(table: OptionTable) -> dict[str, Option]:
    """Options of every script; where scripts differ, that of the first."""
    return {option.name: option for options in reversed(list(_scripts(table))) for option in options}


def _scripts(table: OptionTable) -> Iterator[Sequence[Option]]:
    return (table.scripts[name] for name in sorted(table.scripts))


def _first(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
