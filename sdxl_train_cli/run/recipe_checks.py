"""A run's recipe, checked: as it was typed, and with each way out before it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sdxl_train_cli.dataset import findings, run_captions, sources
from sdxl_train_cli.dataset.checking import CheckedDataset
from sdxl_train_cli.dataset.run_captions import RunCaptions
from sdxl_train_cli.environment import required_packages
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import Problem, SdxlTrainError, WayOut
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.importers import named_code
from sdxl_train_cli.memory import requirement, savings
from sdxl_train_cli.memory.savings import FittingChanges
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.rules import named_files, rules
from sdxl_train_cli.rules.tried_ways import Attempt
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.sdscripts import lycoris
from sdxl_train_cli.sdscripts.options import OptionTable


@dataclass(frozen=True, kw_only=True)
class RecipeChecks:
    """What a recipe is made of, and what it has to suit."""

    choices: Choices
    installed: Environment
    table: OptionTable
    user_presets: Path
    checked: CheckedDataset | None = None
    """None where the pictures could not be looked at."""
    device: Gpu | None = None
    known: requirement.Known = requirement.unmeasured

    def recipe(self, more: Sequence[Override] = ()) -> Recipe:
        """The recipe as it will be launched, which the installed network modules decide too."""
        overrides = (*sources.overrides(self.choices.data), *self.choices.overrides, *more)
        loaded = presets.load(self.choices.kind, self.choices.preset, overrides, self.user_presets)
        resolved = lycoris.resolve(rules.require(loaded, self.table), self.installed.networks)
        recipe = named_files.resolve_paths(resolved)
        named_code.require_harmless_recipe(recipe)
        required_packages.require(self.installed, recipe)
        return recipe

    def planned(self, recipe: Recipe) -> RunCaptions:
        """The recipe and the pictures, after it is decided how the trigger gets into the captions."""
        if self.checked is None:
            raise ValueError("the pictures were not looked at")
        return run_captions.plan(recipe, self.checked.survey)

    def require_memory(self, planned: RunCaptions) -> str:
        """The check of GPU memory, in words; VramError where it is too little, with ways out that were tried."""
        try:
            return requirement.require(planned.recipe, self.device, lambda: self._ways_out(planned), self.known)
        except SdxlTrainError as error:
            if planned.obstacle is None:
                raise
            problem, *_ = error.problems
            raise type(error)(replace(problem, message=f"{problem.message}; {planned.obstacle}")) from error

    def warnings(self, recipe: Recipe) -> list[Problem]:
        """What is odd about the recipe."""
        return [*rules.warnings(recipe), *_slow(recipe, self.device)]

    def attempt(self, way: WayOut) -> Attempt:
        """What would be wrong and odd, had these options been typed too."""
        try:
            recipe = self.recipe([presets.parse_override(setting) for setting in way.settings])
            named_files.require(recipe)
        except SdxlTrainError as error:
            return Attempt(error.problems)
        if self.checked is None:
            return Attempt(warnings=tuple(self.warnings(recipe)))
        wrong = findings.errors_with(recipe, self.checked.survey)
        planned = self.planned(recipe)
        memory = None if wrong or not self.checks_memory else self._too_little_memory(planned.recipe)
        return Attempt(tuple(wrong), tuple(self.warnings(planned.recipe)), memory)

    def _too_little_memory(self, recipe: Recipe) -> Problem | None:
        if self.device is None:
            return None
        free_gib, known = self.device.free_gib, self.known
        try:
            requirement.require(recipe, self.device, list, known)
        except SdxlTrainError as error:
            found = savings.ways_out(recipe, free_gib, known)
            return replace(error.problems[0], ways=tuple(fitting.way for fitting in found))
        return None

    @property
    def checks_memory(self) -> bool:
        """Whether the run has to fit into a GPU."""
        return self.choices.check_vram and not self.choices.on_processor

    def _ways_out(self, planned: RunCaptions) -> list[WayOut]:
        if self.device is None:
            return []
        return [
            fitting.way
            for fitting in savings.ways_out(planned.recipe, self.device.free_gib, self.known, works=self._works)
        ]

    def _works(self, fitting: FittingChanges) -> bool:
        after = self.attempt(fitting.way)
        return not after.problems and after.memory is None


def _slow(recipe: Recipe, device: Gpu | None) -> list[Problem]:
    if device is None or device.has_bf16 or recipe.get("mixed_precision") != "bf16":
        return []
    ways = (WayOut(("mixed_precision=fp16", "no_half_vae=true")),)
    return [Problem(f"{device.name} has no native bf16, which makes it slow", ways=ways)]
