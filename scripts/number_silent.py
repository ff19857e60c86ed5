"""Number the rows of docs/silent.md and count them by state: `python scripts/number_silent.py --write`.

Without --write it exits with 1 where the file would change.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
from pathlib import Path

from sdxl_train_cli import files

DOCUMENT = Path(__file__).parents[1] / "docs" / "silent.md"
STATES = ("Refused", "Set right", "Warned", "Open",
          "Found while it runs", "Found at the first checkpoint", "Found at the end")  # fmt: skip
HEAD = ("What happens", "---")
_COUNT = re.compile(r"^(?:COUNT|\*\*\d+ ways\*\*.*)$", re.MULTILINE)
_NUMBER = re.compile(r"^\d+\.\s+")


def main() -> int:
    """Write, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    typed = parser.parse_args()
    before = DOCUMENT.read_text(encoding="utf-8")
    text = numbered(before)
    if typed.write:
        files.write(DOCUMENT, text)
    return 0 if typed.write or text == before else 1


def cells(line: str) -> list[str]:
    """The cells of a row of the table; empty for every other line, and for its head."""
    parts = [part.strip() for part in line.strip().strip("|").split("|")]
    return parts if line.startswith("|") and len(parts) == 3 and parts[0] not in HEAD else []  # noqa: PLR2004 - columns


def rows(text: str) -> list[list[str]]:
    """Every row of the document."""
    return [found for found in map(cells, text.splitlines()) if found]


def state(row: list[str]) -> str:
    """What becomes of it; empty where the row does not say."""
    return next((one for one in STATES if row[1].startswith(one)), "")


def numbered(text: str) -> str:
    """The document with its rows in one count, and the count by state at its top."""
    number = itertools.count(1)
    lines = [
        f"| {next(number)}. {_NUMBER.sub('', found[0])} | {found[1]} | {found[2]} |" if found else line
        for line, found in ((line, cells(line)) for line in text.splitlines())
    ]
    found = [state(row) for row in rows(text)]
    told = ", ".join(f"{found.count(one)} {one[0].lower()}{one[1:]}" for one in STATES if found.count(one))
    return _COUNT.sub(f"**{len(found)} ways**: {told}.", "\n".join(lines) + "\n", count=1)


if __name__ == "__main__":
    sys.exit(main())
