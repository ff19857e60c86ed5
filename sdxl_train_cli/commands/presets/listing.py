"""`sdxl-train presets list`, `show` and `check`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import files, formatting, redact
from sdxl_train_cli.commands import completion, gpu_choice, measured, workspace
from sdxl_train_cli.commands.gpu_choice import GpuIndex, GpuMemory
from sdxl_train_cli.commands.workspace import HomeOption, KindFilter
from sdxl_train_cli.environment import environment
from sdxl_train_cli.errors import Gathering, Problem, RecipeError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.memory import requirement
from sdxl_train_cli.memory.requirement import Known, MemoryNeed
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.recipes import preset_folders, presets
from sdxl_train_cli.recipes.presets import ListedPreset
from sdxl_train_cli.run import recipe_checks, run_choices
from sdxl_train_cli.ui import console

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
_BY_SIZE, _OWN = "For any subject, by size and GPU memory", "Your own"


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


def list_(
    kind: KindFilter = None, gpu: GpuIndex = None, gpu_memory: GpuMemory = None, as_json: Json = False,
    home: HomeOption = None,
) -> None:  # fmt: skip
    """List presets by what they are for, and what they need."""
    found = presets.list_presets(find_kind(kind), workspace.user_presets())
    card = gpu_choice.find("presets list", gpu, gpu_memory, None)
    of_card = card is not None and gpu_memory is None
    known = measured.runs(workspace.home(home), card, None).need if card and of_card else requirement.unmeasured
    listed = [_PresetRow.of(preset, known, card) for preset in found]
    if as_json:
        console.data([each.facts() for each in listed])
        return
    columns = ("kind", "preset", "needs GB", *([] if card is None else ["fits"]), "what it is for")
    console.sections(columns, [(heading, [each.cells() for each in part]) for heading, part in _in_groups(listed)])
    console.note(
        "needs: the upper end of what was measured or is estimated for the preset as it is (docs/vram.md), the Python"
        " process alone: a desktop takes 1 to 2 GB more"
    )
    if card is not None:
        console.note(f"fits: into the {card.free_gib:.1f} GB free on {card.name}; perhaps: only the lower end does")


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
        console.warn(presets.as_lines(problem))
    gathering.require_none(lambda problems: list(map(presets.as_lines, problems)))
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


@dataclass(frozen=True)
class _PresetRow:
    """A preset with what it needs of a GPU."""

    preset: ListedPreset
    need: MemoryNeed | None
    """None for a broken preset, or one of unknown kind."""
    card: Gpu | None

    @classmethod
    def of(cls, preset: ListedPreset, known: Known, card: Gpu | None) -> _PresetRow:
        if preset.kind is None:
            return cls(preset, None, card)
        try:
            recipe = presets.load(preset.kind, str(preset.path), (), workspace.user_presets())
            return cls(preset, requirement.need(recipe, known), card)
        except RecipeError:
            return cls(preset, None, card)

    @property
    def is_default(self) -> bool:
        """Whether a run of this kind takes it where none is named."""
        kind = self.preset.kind
        is_shipped = preset_folders.is_shipped(self.preset.path)
        return kind is not None and is_shipped and run_choices.DEFAULT_PRESETS[kind] == self.preset.name

    @property
    def heading(self) -> str:
        """What it is listed under."""
        by_place = _BY_SIZE if preset_folders.is_shipped(self.preset.path) else _OWN
        return self.preset.group or by_place

    @property
    def fits(self) -> str:
        """Whether it fits into what the GPU has free."""
        if self.need is None or self.card is None:
            return ""
        if self.need.high_gib <= self.card.free_gib:
            return "yes"
        return "perhaps" if self.need.low_gib <= self.card.free_gib else "no"

    def cells(self) -> tuple[str, ...]:
        """A row of the table."""
        kind = self.preset.kind.value if self.preset.kind else "any"
        need = "" if self.need is None else f"{self.need.high_gib:.1f}"
        description = self.preset.description + (" (the default)" if self.is_default else "")
        return (kind, self.preset.name, need, *([] if self.card is None else [self.fits]), description)

    def facts(self) -> dict[str, object]:
        """For programs."""
        return {
            "kind": self.preset.kind.value if self.preset.kind else None,
            "name": self.preset.name,
            "group": self.heading,
            "default": self.is_default,
            "low_gib": None if self.need is None else round(self.need.low_gib, 2),
            "high_gib": None if self.need is None else round(self.need.high_gib, 2),
            "fits": self.fits or None,
            "description": self.preset.description,
            "path": str(self.preset.path),
        }


def _in_groups(listed: Sequence[_PresetRow]) -> list[tuple[str, list[_PresetRow]]]:
    """By heading: those made for a use, those by size, then the user's own."""
    headings = sorted({each.heading for each in listed}, key=lambda text: (text == _OWN, text == _BY_SIZE, text))
    return [(heading, [each for each in listed if each.heading == heading]) for heading in headings]


def text(value: object) -> str:
    """A value as people write it."""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
