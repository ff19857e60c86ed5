"""What other programs and our own flags call sd-scripts' options, from the table beside this file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sdxl_train_cli import formatting, untrusted_files
from sdxl_train_cli.recipe import Value

TABLE = Path(__file__).with_suffix(".toml")
_SIDES = re.compile(r"\s*(\d+)\s*[xX*]\s*(\d+)\s*")


@dataclass(frozen=True)
class OtherName:
    """One row: a name, and what it is called here."""

    name: str
    source: str
    """Where it is used."""
    option: str | None = None
    """sd-scripts' name."""
    same: bool = False
    """Whether the value means the same to the letter, so that the name is understood."""
    argument: str | None = None
    """The key, where the option is a list of `key=value`."""
    flag: str | None = None
    """Our flag, for what is no option of sd-scripts, or set by us."""
    value: str | None = None
    """What to give, where the value that was written has no meaning here."""
    why: str = ""

    def setting(self, written: object) -> tuple[str, str] | None:
        """The option and its value for what was written. None if it is no option."""
        value = str(written if self.value is None else self.value)
        if self.option is None:
            return None
        return self.option, value if self.argument is None else f"{self.argument}={value}"

    def flags(self, written: object) -> str:
        """What to type for what was written, for a name with a flag."""
        value = str(written if self.value is None else self.value)
        return f"{self.flag} {formatting.shell_word(value)}" if value else str(self.flag)


@cache
def rows() -> Mapping[str, OtherName]:
    """Every row of the table, by name."""
    found: Any = untrusted_files.toml_table(TABLE.read_text(encoding="utf-8"), TABLE.name)
    return {row["name"]: OtherName(**row) for row in found["name"]}


def understood(name: str, value: Value | None) -> tuple[str, Value | None]:
    """The option and value that are meant where that is certain, else both as they are."""
    row = rows().get(name.replace("-", "_"))
    option = row.option if row is not None and row.same and row.option is not None else name
    sides = _SIDES.fullmatch(value) if option == "resolution" and isinstance(value, str) else None
    return option, value if sides is None else f"{sides[1]},{sides[2]}"


def find(name: str) -> OtherName | None:
    """The row of a name, however its words are joined."""
    return rows().get(plain(name))


def plain(name: str) -> str:
    """A name as options are spelled: `--Learning-Rate` is learning_rate."""
    return name.lstrip("-").replace("-", "_").lower()


def suggestion(name: str, options: Mapping[str, object]) -> str | None:
    """`did you mean a or b?`, where other programs' names count too and are told as sd-scripts' own."""
    others = {other: row.option for other, row in rows().items() if row.option in options}
    known = {**{option: option for option in options}, **others}
    close = formatting.close(plain(name), known)
    return formatting.did_you_mean(dict.fromkeys(str(known[one]) for one in close))
