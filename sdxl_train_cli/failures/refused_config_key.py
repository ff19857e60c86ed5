"""Tell which key of a dataset config sd-scripts has refused, and where it stands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from sdxl_train_cli.failures.refused_options import Explanation
from sdxl_train_cli.sdscripts import script_options

_REFUSED = re.compile(r"Invalid: (?P<what>[^@\n]{1,120}?) @ data(?P<path>(?:\[[^\]\n]{1,80}\])+)")
_EXTRA = "extra keys not allowed"
_STEP = re.compile(r"\['([^']*)'\]|\[(\d+)\]")
_TABLES = {"datasets": "dataset", "subsets": "subset"}
_CHECK = "`sdxl-train dataset check FILE` names its line and what to write instead"


def explain(lines: Sequence[str]) -> Explanation | None:
    """Tell the key of the last such error in a log. None if there is none."""
    found = next((match for line in reversed(lines) if (match := _REFUSED.search(line))), None)
    if found is None:
        return None
    *tables, key = [(name, int(number or 0)) for name, number in _STEP.findall(found["path"])]
    place, name = _place(tables), key[0]
    if found["what"] != _EXTRA:
        return Explanation(f"the dataset config: {place}'{name}' has a wrong value: {found['what']}", _CHECK)
    if tables:
        return Explanation(f"the dataset config: {place}sd-scripts takes no '{name}' there", _CHECK)
    if script_options.scripts_with(f"--{name}"):
        return Explanation(
            f"the file given as dataset config holds settings of a training, such as '{name}'",
            "`sdxl-train presets import FILE` takes them; pictures are named by --data",
        )
    return Explanation(f"the dataset config has a table or key '{name}', which sd-scripts does not know", _CHECK)


def _place(steps: Sequence[tuple[str, int]]) -> str:
    """Such as `dataset 1, subset 2: `. sd-scripts counts from zero."""
    words = [
        f"{_TABLES.get(name, name)} {number + 1}" for (name, _), (rest, number) in pairwise(steps) if name and not rest
    ]
    return ", ".join(words) + ": " if words else ""
