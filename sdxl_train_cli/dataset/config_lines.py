"""Where the keys of a dataset config stand in its TOML text, for messages. JSON has no lines worth naming."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sdxl_train_cli.origin import Origin

Place = tuple[int, int]
"""Numbers of a dataset and of its subset from 1; 0 for the dataset itself, and twice for [general]."""
GENERAL: Place = (0, 0)
_HEADER = re.compile(r"\s*\[\[?\s*([\w.\s\"']+?)\s*\]\]?")
_KEY = re.compile(r"\s*[\"']?(\w+)[\"']?\s*=")


@dataclass(frozen=True)
class ConfigLines:
    """The lines of one file."""

    shown: str
    lines: Mapping[tuple[Place, str], int] = field(default_factory=dict)
    """Line numbers from 1, by table and key; a table's own line has an empty key."""

    def origin(self, place: Place, key: str = "") -> Origin:
        """The line of the key, else of its table; without a line where neither is found."""
        return Origin(self.shown, self.lines.get((place, key)) or self.lines.get((place, "")))

    def first(self, key: str) -> Origin:
        """The first line that sets the key in any table; without a line where there is none."""
        return Origin(self.shown, min((line for (_, name), line in self.lines.items() if name == key), default=None))

    def where(self, place: Place, key: str = "") -> str:
        """The place in words: line, dataset, subset."""
        dataset, subset = place
        told = "general" if place == GENERAL else f"dataset {dataset}" + (f", subset {subset}" if subset else "")
        return f"{self.origin(place, key)}: {told}"


def find(text: str, shown: str) -> ConfigLines:
    """Find the lines of a TOML text. What is written in one line, in braces, has no line of its own."""
    found: dict[tuple[Place, str], int] = {}
    dataset = subset = 0
    place: Place | None = None
    for number, line in enumerate(text.splitlines(), 1):
        header, key = _HEADER.match(line), _KEY.match(line)
        if header is not None:
            name = re.sub(r"[\s\"']", "", header[1])
            dataset, subset = (dataset + 1, 0) if name == "datasets" else (dataset, subset)
            subset += name == "datasets.subsets"
            known = {"general": GENERAL, "datasets": (dataset, 0), "datasets.subsets": (dataset, subset)}
            place = known.get(name)
            if place is not None:
                found.setdefault((place, ""), number)
        elif key is not None and place is not None:
            found.setdefault((place, key[1]), number)
    return ConfigLines(shown, found)
