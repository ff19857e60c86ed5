"""`sdxl-train presets diff`: compare two presets."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from sdxl_train_cli import redact
from sdxl_train_cli.commands import completion, workspace
from sdxl_train_cli.commands.presets import listing
from sdxl_train_cli.commands.presets.listing import Json
from sdxl_train_cli.commands.workspace import HomeOption, KindFilter
from sdxl_train_cli.environment import environment
from sdxl_train_cli.recipes import preset_comparison, presets
from sdxl_train_cli.recipes.preset_comparison import ComparedSide, OptionDifference
from sdxl_train_cli.ui import console

_NAME_OR_FILE = "A name from `sdxl-train presets list`, or a file"
One = Annotated[str, typer.Argument(metavar="A", help=_NAME_OR_FILE, autocompletion=completion.preset_names)]
Other = Annotated[str, typer.Argument(metavar="B", help=_NAME_OR_FILE, autocompletion=completion.preset_names)]


def diff(a: One, b: Other, kind: KindFilter = None, as_json: Json = False, home: HomeOption = None) -> None:
    """Compare two presets, sd-scripts' defaults included."""
    table = environment.option_table(workspace.home(home))
    one, other = (presets.load(listing.kind_for(name, kind), name, (), workspace.user_presets()) for name in (a, b))
    found = [_without_key(each) for each in preset_comparison.differences(one, other, table)]
    if as_json:
        console.data([_facts(difference) for difference in found])
        return
    if one.kind is not other.kind:
        console.note(f"{a} trains a {one.kind.label}, {b} a {other.kind.label}")
    if table.release:
        console.note(f"defaults are those of sd-scripts {table.release}")
    if not found:
        console.note("no options differ in effect")
        return
    rows = [(each.option, _shown(each.one), _shown(each.other)) for each in found]
    console.table(("option", a, b), rows)


def _without_key(found: OptionDifference) -> OptionDifference:
    """Show that two keys differ, but not the keys."""
    if found.option not in redact.KEYS:
        return found
    one, other = (side if side.value is None else replace(side, value=redact.MASK) for side in (found.one, found.other))
    return replace(found, one=one, other=other)


def _shown(side: ComparedSide) -> str:
    if side.origin is not None and side.value is not None:
        return listing.text(side.value)
    if side.value is None:
        return "-"
    return f"{listing.text(side.value)} (default)"


def _facts(difference: OptionDifference) -> dict[str, object]:
    return {
        "option": difference.option,
        "a": _side(difference.one),
        "b": _side(difference.other),
    }


def _side(side: ComparedSide) -> dict[str, object]:
    default = None if side.value is None else "sd-scripts' default"
    return {"value": side.value, "from": default if side.origin is None else str(side.origin)}
