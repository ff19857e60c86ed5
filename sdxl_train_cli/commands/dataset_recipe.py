"""The recipe that a dataset is looked at with: its buckets, batches and steps are those of the run to come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sdxl_train_cli.commands import place
from sdxl_train_cli.commands.presets import kind_called, kind_for

if TYPE_CHECKING:
    from sdxl_train_cli.project import Project
    from sdxl_train_cli.recipe import Kind, Recipe
    from sdxl_train_cli.recipes.presets import Override


def load(kind: str | None, preset: str | None, typed: Sequence[Override], home: Path | None) -> Recipe:
    """What `sdxl-train lora` would train with here: typed, else from the project file, else the usual preset.

    Raises RecipeError. Without an environment only our own rules are asked.
    """
    from sdxl_train_cli import options, preparation, project
    from sdxl_train_cli.errors import RecipeError
    from sdxl_train_cli.installation import environment
    from sdxl_train_cli.recipes import presets
    from sdxl_train_cli.rulebook import rules

    written = project.load(Path.cwd())
    what = _kind(kind, preset, written)
    name = preparation.filled(what, written, {"preset": preset})["preset"] or preparation.DEFAULT_PRESETS[what]
    own = written.overrides if written.kind in {None, what} else ()
    recipe = presets.load(what, name, (*own, *typed), place.user_presets())
    installed = environment.find(place.home(home))
    if installed is not None:
        return rules.require(recipe, installed.options())
    recipe = options.as_they_look(recipe)
    problems = list(rules.problems(recipe))
    if problems:
        raise RecipeError(problems)
    return recipe


def _kind(kind: str | None, preset: str | None, written: Project) -> Kind:
    if kind is None and preset is not None:
        return kind_for(preset, None)
    from sdxl_train_cli.recipe import Kind

    return kind_called(kind) or written.kind or Kind.LORA
