"""Write what an installed sd-scripts' parsers say into the table that ships for its release.

    python scripts/ship_options.py v0.11.1 --home HOME       write sdxl_train_cli/sdscripts/releases/v0.11.1.json
    python scripts/ship_options.py v0.11.1 --home HOME --check                    exit 1 where it would be another one

HOME is where `sdxl-train setup --ref v0.11.1 --home HOME` has installed that release. Run with a Python that has
sdxl_train_cli. Upstream's help texts stay out: they are not ours to ship.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.environment import environment
from sdxl_train_cli.layout import Home
from sdxl_train_cli.sdscripts import shipped
from sdxl_train_cli.sdscripts.options import Option, OptionTable

Row = dict[str, object]


def main() -> int:
    """Write, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("release", help="the release's name, such as v0.11.1")
    parser.add_argument("--home", type=Path, required=True, help="the home in which setup has installed it")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file differs")
    typed = parser.parse_args()
    installed = environment.require(Home.find(typed.home, {}))
    path = shipped.RELEASES / f"{typed.release}.json"
    made = text(installed.options(), installed.lock.commit)
    if typed.check:
        return 0 if path.is_file() and path.read_text(encoding="utf-8") == made else 1
    files.write(path, made)
    print(path)
    return 0


def text(table: OptionTable, commit: str) -> str:
    """A table as it ships: an option a line, by name, and an optimizer a line."""
    options = ",\n".join(f"  {json.dumps(row)}" for row in rows(table))
    taken = ",\n".join(f"  {json.dumps(name)}: {json.dumps(known)}" for name, known in sorted(table.optimizers.items()))
    scripts = json.dumps(sorted(table.scripts))
    head = f' "commit": "{commit}",\n "scripts": {scripts},\n'
    return f'{{\n{head} "options": [\n{options}\n ],\n "optimizers": {{\n{taken}\n }}\n}}\n'


def rows(table: OptionTable) -> Iterator[Row]:
    """Each option once, with its scripts where others lack it or have it otherwise; only what is not usual."""
    scripts = {script: {option.name: row(option) for option in found} for script, found in table.scripts.items()}
    for name in sorted({name for known in scripts.values() for name in known}):
        having = {script: known[name] for script, known in sorted(scripts.items()) if name in known}
        for one in unique(having.values()):
            same = [script for script, other in having.items() if other == one]
            yield one if len(same) == len(scripts) else {**one, "scripts": same}


def unique(found: Iterable[Row]) -> list[Row]:
    """Each row once, in the given order."""
    seen: list[Row] = []
    seen.extend(one for one in found if one not in seen)
    return seen


def row(option: Option) -> Row:
    """What of an option is not usual."""
    usual = shipped.row_defaults(option.name, option.type)
    told = option.model_dump(mode="json", exclude={"help"})
    return {key: value for key, value in told.items() if key not in usual or value != usual[key]}


if __name__ == "__main__":
    sys.exit(main())
