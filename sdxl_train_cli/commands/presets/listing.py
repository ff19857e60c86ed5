"""`sdxl-train presets list`, `show` and `check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import files, formatting, redact
from sdxl_train_cli.commands import completion, workspace
from sdxl_train_cli.commands.workspace import HomeOption, KindFilter
from sdxl_train_cli.environment import environment
from sdxl_train_cli.errors import Gathering, Problem, RecipeError
from sdxl_train_cli.memory import requirement
from sdxl_train_cli.memory.requirement import MemoryNeed
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.recipes import preset_folders, presets
from sdxl_train_cli.recipes.presets import ListedPreset
from sdxl_train_cli.run import recipe_checks
from sdxl_train_cli.ui import console

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]


PresetName = Annotated[
    str,
    typer.Argument(metavar="PRESET", help="A name from the list, or a file", autocompletion=completion.preset_names),
]
Presets = Annotated[
    list[str],
    typer.Argument(
        metavar="PRESET", help="Files, or names from `sdxl-train presets list`", autocompletion=completion.preset_names
    ),
]


def list_(kind: KindFilter = None, as_json: Json = False) -> None:
    """List every preset with the GPU memory that it needs."""
    found = presets.list_presets(find_kind(kind), workspace.user_presets())
    if as_json:
        console.data([_facts(preset) for preset in found])
        return
    console.table(
        ("kind", "preset", "needs GB", "description"),
        [(preset.kind.value if preset.kind else "any", preset.name, _shown(preset), preset.description)
         for preset in found],
    )  # fmt: skip
    console.note(
        "needs: measured or estimated for the preset as it is (docs/vram.md), the Python process alone: a desktop "
        "takes 1 to 2 GB more"
    )


def show(
    preset: PresetName,
    kind: KindFilter = None,
    as_json: Json = False,
) -> None:
    """Show a preset in full, and where each value comes from."""
    recipe = redact.masked(presets.load(kind_for(preset, kind), preset, (), workspace.user_presets()))
    if as_json:
        console.data(recipe.model_dump(mode="json"))
        return
    console.note(f"{recipe.name} ({recipe.kind.label}): {recipe.description}")
    rows = [(name, text(setting.value), str(setting.origin)) for name, setting in sorted(recipe.settings.items())]
    console.table(("option", "value", "from"), rows)


def check(preset: Presets, kind: KindFilter = None, home: HomeOption = None) -> None:
    """Find every problem in preset files. With line numbers; exit code 3 if there is one."""
    table = environment.option_table(workspace.home(home))
    gathering, odd = Gathering(), list[Problem]()
    for name in preset:
        with gathering.part():
            recipe = _checked(name, kind)
            recipe_checks.require_sound(recipe, table)
            odd += recipe_checks.warnings(recipe, table)
    for problem in odd:
        console.warn(problem)
    gathering.require_none()
    console.note(
        "no problem found" + (f", checked against the options of sd-scripts {table.release}" if table.release else "")
    )


def _checked(name: str, kind: str | None) -> Recipe:
    """The preset of a file, or the one of this name."""
    user = workspace.user_presets()
    if not files.is_file(Path(name)) and any(name in presets.names(one, user) for one in Kind):
        return presets.load(kind_for(name, kind), name, (), user)
    if not preset_folders.is_path(name) and not files.exists(Path(name)):
        every = [one for each in Kind for one in presets.names(each, user)]
        hint = formatting.suggestion(name, every) or "give a file, or a name from `sdxl-train presets list`"
        raise RecipeError(f"no preset named '{name}'", hint)
    return presets.of_file(Path(name), find_kind(kind), user)


def find_kind(text: str | None) -> Kind | None:
    """The kind of this name, if given. UsageError for an unknown name."""
    return None if text is None else workspace.kind(text)


def kind_for(preset: str, typed: str | None) -> Kind:
    """The kind that was typed, else the first that has a preset of this name."""
    kind = find_kind(typed)
    if kind is None and files.is_file(preset):
        kind = presets.kind_of(Path(preset), workspace.user_presets())
    having = (one for one in Kind if preset in presets.names(one, workspace.user_presets()))
    return kind or next(having, Kind.LORA)


def _need(preset: ListedPreset) -> MemoryNeed | None:
    """Memory of a preset with a known kind. None if the preset is broken."""
    if preset.kind is None:
        return None
    try:
        return requirement.need(presets.load(preset.kind, str(preset.path), (), workspace.user_presets()))
    except RecipeError:
        return None


def _shown(preset: ListedPreset) -> str:
    need = _need(preset)
    return "" if need is None else f"{need.low_gib:.1f}-{need.high_gib:.1f}"


def _facts(preset: ListedPreset) -> dict[str, object]:
    need = _need(preset)
    return {
        "kind": preset.kind.value if preset.kind else None,
        "name": preset.name,
        "low_gib": None if need is None else round(need.low_gib, 2),
        "high_gib": None if need is None else round(need.high_gib, 2),
        "description": preset.description,
        "path": str(preset.path),
    }


def text(value: object) -> str:
    """A value as people write it."""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
