"""Recipe and dataset as `sdxl-train lora` would use them here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.commands import workspace
from sdxl_train_cli.commands.presets.listing import find_kind, kind_for
from sdxl_train_cli.dataset import sources
from sdxl_train_cli.dataset.checking import DatasetSource
from sdxl_train_cli.environment import environment
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.recipes import presets, project
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.recipes.project import Project
from sdxl_train_cli.rules import rules
from sdxl_train_cli.run import run_choices


def load(kind: str | None, preset: str | None, data: Path, typed: Sequence[Override], home: str | None) -> Recipe:
    """The recipe that `sdxl-train lora` would use: typed, else the project file's, else the default preset.

    Raises RecipeError, and DatasetError for a dataset config.
    """
    written = project.load(Path.cwd())
    what = _kind(kind, preset, written)
    name = run_choices.fill_in(what, written, {"preset": preset})["preset"] or run_choices.DEFAULT_PRESETS[what]
    overrides = (*sources.overrides(data), *run_choices.overrides(what, written), *typed)
    recipe = presets.load(what, name, overrides, workspace.user_presets())
    return rules.require(recipe, environment.option_table(workspace.home(home)), sources.recipes(data, recipe))


def source(data: Path | None, reg: str | None, trigger: str | None, repeats: int | None) -> DatasetSource:
    """The dataset that it would use: typed, else the project file's, else ./data. UsageError if there is none."""
    written = project.load(Path.cwd())
    given = Path(written.data or run_choices.DEFAULT_DATA) if data is None else data
    if data is None and not written.data and not files.is_folder(given):
        raise UsageError("no pictures are given, and there is no folder ./data", "name the folder of pictures")
    reg = written.reg if reg is None else reg
    trigger = written.trigger if trigger is None else trigger
    return DatasetSource(given, Path(reg) if reg else None, repeats, trigger or None, "give")


def _kind(kind: str | None, preset: str | None, written: Project) -> Kind:
    if kind is None and preset is not None:
        return kind_for(preset, None)

    return find_kind(kind) or written.kind or Kind.LORA
