"""Put the nearest that is installed in the place of an optimizer, schedule or network that sd-scripts does not have.

All else of a file is kept, and what is replaced is told with its line. The table beside this file has the facts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from sdxl_train_cli import untrusted_files
from sdxl_train_cli.errors import Problem
from sdxl_train_cli.importers import networks
from sdxl_train_cli.importers.foreign_settings import ForeignKey, KeyFate, shown
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Value
from sdxl_train_cli.sdscripts import optimizer
from sdxl_train_cli.sdscripts.rates import TOO_HIGH

TABLE = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True)
class Substitute:
    """What is taken for a name."""

    name: str | None
    """None leaves the option out."""
    is_same: bool
    """Whether it is the same thing under another name."""


@dataclass(frozen=True)
class _File:
    shown: str
    text: str

    def line(self, entry: ForeignKey) -> Origin | str:
        """The line of the entry's key and value, as far as the file has lines."""
        key = re.escape(re.split(r"[. ]", entry.key)[-1].lstrip("-"))
        lines = self.text.split("\n")
        at = [number for number, line in enumerate(lines, 1) if re.search(rf"(?<!\w){key}\b", line)]
        best = next((number for number in at if entry.shown in lines[number - 1]), at[0] if at else None)
        return self.shown if best is None else Origin(self.shown, best)


def replaced(entries: Sequence[ForeignKey], where: str, text: str) -> tuple[list[ForeignKey], tuple[Problem, ...]]:
    """The entries with what is installed, and what must be told."""
    file = _File(where, text)
    given = {entry.option: entry.value for entry in entries if entry.option is not None}
    found, warnings, without = list[ForeignKey](), list[Problem](), set[str]()
    for entry in entries:
        choose = _CHOICES.get(entry.option or "")
        taken = None if choose is None or entry.value is None else choose(str(entry.value), given)
        if taken is None:
            found.append(entry)
            continue
        note = (
            "the same under the name that sd-scripts takes" if taken.is_same else f"sd-scripts has no '{entry.shown}'"
        )
        found.append(replace(entry, what=KeyFate.COMPUTED, value=taken.name, note=note))
        if not taken.is_same:
            warnings.append(_told(entry, taken, file))
            without.add(_ARGUMENTS.get(str(entry.option), ""))
    return [_without(entry, without, given) for entry in found], tuple(warnings)


def place(entry: ForeignKey, where: str, text: str) -> Origin | str:
    """The line of an entry in the text of a file, or the file alone."""
    return _File(where, text).line(entry)


def _told(entry: ForeignKey, taken: Substitute, file: _File) -> Problem:
    instead = "it is left out" if taken.name is None else f"{taken.name} is taken in its place"
    message = f"sd-scripts has no {entry.option} '{shown(str(entry.value))}': {instead}"
    if entry.option == "mixed_precision":
        return Problem(message, _table()["precisions"]["hint"], file.line(entry), (entry.option,))
    hint = (
        f"it is of a fork or of another package: install that, then --set {entry.option}=PACKAGE.{entry.shown}"
        if re.fullmatch(r"\w+", entry.shown) else "it is of a fork, which sdxl-train setup --source can install"
    )  # fmt: skip
    return Problem(message, hint, file.line(entry), (str(entry.option),))


def _without(entry: ForeignKey, without: set[str], given: Mapping[str, Value | None]) -> ForeignKey:
    """The entry, dropped if its arguments belong to what was replaced."""
    if entry.option not in without or entry.value is None:
        return entry
    owner = next(option for option, parts in _ARGUMENTS.items() if entry.option == parts)
    return entry.dropped(f"belongs to {shown(str(given.get(owner)))}")


def _optimizer(name: str, given: Mapping[str, Value | None]) -> Substitute | None:
    if "." in name or optimizer.is_known_name(name):
        return None
    plain = _plain(name)
    own = {_plain(known): known for known in (*optimizer.TORCH_OPTIMIZERS, *optimizer.OWN_OPTIMIZERS)}
    if plain in own:
        return Substitute(own[plain], is_same=True)
    packaged = _table()["packaged"]
    full = {_plain(known): f"{packaged['package']}.{known}" for known in packaged["names"]}
    full |= {_plain(known.rpartition(".")[2]): known for known in optimizer.PACKAGED.values()}
    if plain in full:
        return Substitute(full[plain], is_same=True)
    arguments = " ".join(networks.parse_pairs(given.get("optimizer_args")))
    rates = [given.get(option) for option in ("learning_rate", "unet_lr")]
    is_high = any(isinstance(rate, int | float) and rate >= TOO_HIGH for rate in rates)
    words = f"{name} {arguments}".lower()
    nearest = _nearest("nearest_optimizer", words)
    return Substitute("Prodigy" if is_high and "rodigy" not in nearest else nearest, is_same=False)


def _scheduler(name: str, given: Mapping[str, Value | None]) -> Substitute | None:
    if given.get("lr_scheduler_type") or name.partition(":")[0] in optimizer.SCHEDULERS:
        return None
    own = {_plain(known): known for known in optimizer.SCHEDULERS}
    if _plain(name) in own:
        return Substitute(own[_plain(name)], is_same=True)
    return Substitute(_nearest("nearest_scheduler", name.lower()), is_same=False)


def _scheduler_class(name: str, _given: Mapping[str, Value | None]) -> Substitute | None:
    known = _table()["schedules_of_torch"]["names"]
    if "." in name or name in known:
        return None
    own = {_plain(each): each for each in known}
    return Substitute(own.get(_plain(name)), is_same=_plain(name) in own)


def _network(name: str, _given: Mapping[str, Value | None]) -> Substitute | None:
    table = _table()["networks"]
    if name in table["names"] or name in networks.OTHER_MODELS:
        return None
    own = {_plain(known.rpartition(".")[2]): known for known in table["names"]} | {"lycoris": "lycoris.kohya"}
    if _plain(name.rpartition(".")[2]) in own and not name.startswith("lycoris."):
        return Substitute(own[_plain(name.rpartition(".")[2])], is_same=True)
    return Substitute(table["takes"], is_same=False) if "." not in name or name.startswith("networks.") else None


def _precision(name: str, _given: Mapping[str, Value | None]) -> Substitute | None:
    table, plain = _table()["precisions"], _plain(name)
    if plain in {"no", "fp16", "bf16"}:
        return None
    return Substitute(table["same"].get(plain, table["nearest"]), is_same=plain in table["same"])


_CHOICES: Mapping[str, Callable[[str, Mapping[str, Value | None]], Substitute | None]] = {
    "optimizer_type": _optimizer,
    "lr_scheduler": _scheduler,
    "lr_scheduler_type": _scheduler_class,
    "network_module": _network,
    "mixed_precision": _precision,
}
_ARGUMENTS: Mapping[str, str] = {
    "optimizer_type": "optimizer_args",
    "lr_scheduler_type": "lr_scheduler_args",
    "network_module": "network_args",
}
"""Options whose arguments belong to the one that is replaced."""


def _nearest(rows: str, words: str) -> str:
    return next(str(row["takes"]) for row in _table()[rows] if re.search(row["words"], words))


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


@cache
def _table() -> Any:  # noqa: ANN401 - the table's own shape
    return untrusted_files.toml_table(TABLE.read_text(encoding="utf-8"), TABLE.name)
