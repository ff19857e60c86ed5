"""Which of sd-scripts' training scripts takes which option, by release, and what `accelerate launch` takes.

`scripts/ship_scripts.py` writes the file from the scripts' own parsers.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sdxl_train_cli import files

FILE = Path(__file__).with_name("script_options.json")
SCRIPTS = "scripts"
"""The row of the file that names every training script of a release."""
LAUNCHER = "accelerate launch"
_EVERY = "*"


@cache
def takers(release: str) -> dict[str, frozenset[str]]:
    """Scripts by option (`--network_dim`) of one release. The launcher counts as a script."""
    rows = _table()[release]
    every = rows[SCRIPTS]
    return {
        flag: frozenset(script for one in scripts for script in (every if one == _EVERY else [one]))
        for flag, scripts in rows.items()
        if flag != SCRIPTS
    }


@cache
def releases() -> tuple[str, ...]:
    """The releases whose scripts are known, the oldest first."""
    return tuple(_table())


@cache
def flags(script: str) -> frozenset[str]:
    """Every option of a script in any known release. Empty if the script is unknown."""
    return frozenset(flag for release in releases() for flag, scripts in takers(release).items() if script in scripts)


@cache
def releases_with(flag: str, script: str) -> tuple[str, ...]:
    """The releases in which a script takes an option."""
    return tuple(release for release in releases() if script in takers(release).get(flag, ()))


def scripts_with(flag: str) -> frozenset[str]:
    """Every script that takes an option in any known release."""
    return frozenset(script for release in releases() for script in takers(release).get(flag, ()))


@cache
def _table() -> dict[str, dict[str, list[str]]]:
    found = files.read_json(FILE)
    if not isinstance(found, dict):
        raise TypeError(f"{FILE.name} is no table")
    return found
