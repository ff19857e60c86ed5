"""A run's recipe, checked: as it was typed, and with each way out before it is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path

from sdxl_train_cli import formatting
from sdxl_train_cli.dataset import bucketing, findings, run_captions, sources, stale_caches
from sdxl_train_cli.dataset.checking import CheckedDataset
from sdxl_train_cli.dataset.folders import TrainingPictures
from sdxl_train_cli.dataset.run_captions import RunCaptions
from sdxl_train_cli.environment import cache_layout, required_packages
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import Gathering, Problem, RecipeError, SdxlTrainError, WayOut
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.importers import named_code
from sdxl_train_cli.memory import host_memory, planning, requirement, savings
from sdxl_train_cli.memory.planning import PlanRequest
from sdxl_train_cli.memory.requirement import MemoryNeed
from sdxl_train_cli.memory.savings import FittingChanges
from sdxl_train_cli.recipe import Recipe, Value
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.rules import embedding_rules, named_files, rules, tried_ways
from sdxl_train_cli.rules.tried_ways import TryResult
from sdxl_train_cli.run import prediction, sampling, several_gpus, validating
from sdxl_train_cli.run.prediction import PredictionChoice
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.run.sampling import SamplePlan, SampleRequest
from sdxl_train_cli.sdscripts import checkpoint, lycoris, options
from sdxl_train_cli.sdscripts.base_model import BaseModel, Prediction
from sdxl_train_cli.sdscripts.options import OptionTable

_ON_DISK, _INPAINTING = "cache_latents_to_disk", "train_inpainting"
_PRESETS = 2
"""Other presets that are named where no change of this one helps."""


@dataclass(frozen=True)
class PlannedRun(RunCaptions):
    """A recipe and its pictures after all that we decide is decided."""

    samples: SamplePlan | None = None
    """What is drawn with prompts of ours, or asked for by `--sample`."""


@dataclass(frozen=True, kw_only=True)
class RecipeChecks:
    """What a recipe is made of, and what it has to suit."""

    choices: Choices
    base: BaseModel
    installed: Environment
    table: OptionTable
    user_presets: Path
    checked: CheckedDataset | None = None
    """None where the pictures could not be looked at."""
    device: Gpu | None = None
    on_processor: bool = False
    """Whether it is known that there is no GPU to train on."""
    known: requirement.Known = requirement.unmeasured

    def planned(self, recipe: Recipe) -> PlannedRun:
        """The recipe and the pictures after all is decided: captions with the trigger, samples and validation."""
        if self.checked is None:
            raise ValueError("the pictures were not looked at")
        captions = run_captions.plan(recipe, self.checked.survey)
        survey = replace(self.checked.survey, pictures=captions.pictures)
        validated = validating.choose(captions.recipe, survey, self.choices.validation, self.table)
        asked = () if sampling.is_off(self.overrides()) else self.choices.samples
        on_processor = self.on_processor or self.choices.on_processor
        request = SampleRequest(asked, on_processor, None if self.device is None else self.device.free_gib)
        sampled = sampling.choose(validated.recipe, survey, request, partial(self._need, captions.pictures))
        notes = (*captions.notes, *validated.notes, *sampled.notes)
        return PlannedRun(sampled.recipe, captions.pictures, notes, captions.obstacle, sampled.plan)

    def _need(self, pictures: TrainingPictures, recipe: Recipe) -> MemoryNeed:
        return requirement.need(requirement.heaviest(pictures.recipes(recipe), self.known), self.known)

    def overrides(self) -> tuple[Override, ...]:
        """What is set outside of the preset, in the order in which it counts."""
        return (*sources.overrides(self.choices.data), *self.choices.overrides)

    def require_memory(self, planned: RunCaptions) -> str:
        """The check of GPU memory, in words; VramError where it is too little, with ways out that were tried."""
        try:
            heaviest = self._heaviest(planned)
            return requirement.require(heaviest, self.device, lambda: self._ways_out(heaviest), self.known)
        except SdxlTrainError as error:
            if planned.obstacle is None:
                raise
            problem, *_ = error.problems
            raise type(error)(replace(problem, message=f"{problem.message}; {planned.obstacle}")) from error

    def require_processor(self, recipe: Recipe) -> None:
        """RecipeError for what needs a GPU, where there is none."""
        found = self._of_processor(recipe)
        if found:
            raise RecipeError(found)

    def _of_processor(self, recipe: Recipe) -> list[Problem]:
        """What accelerate refuses on a processor (Accelerator.__init__)."""
        if not self.on_processor or recipe.get("mixed_precision") != "fp16":
            return []
        full = ("full_fp16=false",) if recipe.is_on("full_fp16") else ()
        ways = (WayOut(("mixed_precision=no", *full)), WayOut(("mixed_precision=bf16", *full)))
        words = "mixed_precision fp16 needs a GPU, and this run would train on the processor"
        return [replace(recipe.problem("mixed_precision", words), ways=ways)]

    def require_mask_input(self, recipe: Recipe) -> None:
        """RecipeError where train_inpainting would change nothing: no network of sd-scripts trains the first layer.

        For a base without input for masks, sd-scripts adds one of zeros (library/model_util.py:
        expand_unet_to_inpainting).
        """
        own = str(recipe.get("network_module") or "").startswith("networks.")
        if recipe.is_on(_INPAINTING) and own and checkpoint.takes_masks(self.choices.model) is False:
            words = "the base has no input for masks, and a network alone does not learn to read them"
            hint = "give --model an SDXL inpainting checkpoint; or train the whole model: sdxl-train dreambooth"
            raise RecipeError(recipe.problem_of_setting(_INPAINTING, words, hint))

    def require_own_caches(self, recipe: Recipe) -> None:
        """RecipeError where pictures of several sizes would share one cache on disk."""
        found = self._of_shared_caches(recipe)
        if found:
            raise RecipeError(found)

    def _of_shared_caches(self, recipe: Recipe) -> list[Problem]:
        if self.checked is None or not recipe.is_on(_ON_DISK) or cache_layout.keeps_sizes_apart(self.installed):
            return []
        shared = bucketing.of_several_sizes(bucketing.arrange(recipe, self.checked.survey.readable))
        if not shared:
            return []
        words = (
            f"{formatting.counted(len(shared), 'picture')} would train at several sizes, and this sd-scripts keeps one "
            "cache on disk for all of them: each size would get the latents of the first"
        )
        return [replace(recipe.problem(_ON_DISK, words), ways=(WayOut((f"{_ON_DISK}=null", "cache_latents=true")),))]

    def warnings(self, planned: RunCaptions) -> list[Problem]:
        """What is odd about the recipe as every dataset trains with it; a small size beside a large one is not."""
        first, *others = (_odd(recipe, self.device) for recipe in planned.pictures.recipes(planned.recipe))
        elsewhere = [set(map(_anywhere, each)) for each in others]
        odd = [problem for problem in first if all(_anywhere(problem) in each for each in elsewhere)]
        split = run_captions.split_trigger(planned.recipe, self.choices.trigger)
        is_here = self.choices.elsewhere is None
        return [*odd, *split, *(host_memory.problems(self.choices.model, planned.recipe) if is_here else [])]

    def _heaviest(self, planned: RunCaptions) -> Recipe:
        return requirement.heaviest(planned.pictures.recipes(planned.recipe), self.known)

    def attempt(self, way: WayOut) -> TryResult:
        """What would be wrong and odd, had this been typed too."""
        if way.preset is not None:
            other = replace(self, choices=replace(self.choices, preset=way.preset))
            return other.attempt(replace(way, preset=None))
        typed = tuple(presets.parse_override(setting) for setting in way.settings)
        after = replace(self, choices=replace(self.choices, overrides=(*self.choices.overrides, *typed)))
        try:
            recipe = load_recipe(after).recipe
            named_files.require(recipe)
        except SdxlTrainError as error:
            return TryResult(error.problems)
        if self.checked is None:
            return TryResult(warnings=tuple(_odd(recipe, self.device)))
        wrong = [
            *self._picture_errors(recipe, self.checked), *self._of_processor(recipe), *self._of_shared_caches(recipe),
        ]  # fmt: skip
        planned = after.planned(recipe)
        memory = None if wrong or not self.checks_memory else self._too_little_memory(self._heaviest(planned))
        return TryResult(tuple(wrong), tuple(self.warnings(planned)), memory)

    def _picture_errors(self, recipe: Recipe, checked: CheckedDataset) -> list[Problem]:
        """Go through the pictures once for all ways out that leave what decides about them as it is."""
        pictures = checked.survey.pictures
        key = tuple(tuple(map(each.get, findings.DECIDING)) for each in pictures.recipes(recipe))
        if key not in self._errors_by_options:
            source = self.choices.source
            command = stale_caches.command(source.data, source.regularisation, recipe, pictures)
            self._errors_by_options[key] = findings.errors_with(recipe, checked.survey, command)
        return self._errors_by_options[key]

    @cached_property
    def _errors_by_options(self) -> dict[tuple[tuple[Value | None, ...], ...], list[Problem]]:
        return {}

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

    def _ways_out(self, recipe: Recipe) -> list[WayOut]:
        """Changes of this preset; where none helps, another preset."""
        if self.device is None:
            return []
        free_gib, known = self.device.free_gib, self.known
        fitting = savings.ways_out(recipe, free_gib, known, works=self._works)
        return [one.way for one in fitting] or list(islice(self._other_presets(free_gib), _PRESETS))

    def _other_presets(self, free_gib: float) -> Iterator[WayOut]:
        question = PlanRequest(
            self.choices.kind, free_gib, resolution=None, data=None, known=self.known, as_started=self._as_started
        )
        for offer in planning.fitting_runs(question, self.user_presets):
            words = f"needs {offer.need}; gives up {', '.join(offer.gives_up) or 'nothing'}"
            way = WayOut(offer.settings, words, offer.preset)
            after = self.attempt(way)
            if not after.problems and after.memory is None:
                yield way

    def _as_started(self, recipe: Recipe) -> Recipe:
        """Another preset with what was typed beside this one, and with these pictures' captions."""
        return self.planned(options.convert(presets.with_overrides(recipe, self.overrides()), self.table)).recipe

    def _works(self, fitting: FittingChanges) -> bool:
        after = self.attempt(fitting.way)
        return not after.problems and after.memory is None


def load_recipe(checks: RecipeChecks) -> PredictionChoice:
    """The recipe as it will be launched: the base model and the installed network modules decide too."""
    choices = checks.choices
    overrides = checks.overrides()
    loaded = presets.load(choices.kind, choices.preset, overrides, checks.user_presets)
    loaded = validating.asked(loaded, choices.validation, checks.table)
    loaded = sampling.asked(loaded, choices.samples, off=sampling.is_off(overrides))
    loaded = loaded.model_copy(update={"processes": choices.all_processes})
    gathering = Gathering()
    with gathering.part():
        validating.require_possible(loaded, choices.validation, checks.table)
    with gathering.part():
        embedding_rules.require_word(loaded)
    predicted = PredictionChoice(loaded, Prediction.EPSILON, "")
    with gathering.part():
        predicted = prediction.settle(loaded, checks.base, choices.prediction, choices.model)
    with gathering.part():
        typed = rules.require(predicted.recipe, checks.table, sources.recipes(choices.data, predicted.recipe))
    gathering.require_none()
    recipe = lycoris.resolve(typed, checks.installed.networks)
    named_code.require_harmless_recipe(recipe)
    required_packages.require(checks.installed, recipe)
    shared = several_gpus.share(recipe)
    recipe = sampling.with_pixels(named_files.resolve_paths(shared.recipe))
    return replace(predicted, recipe=recipe, notes=shared.notes)


def require_sound(recipe: Recipe, table: OptionTable) -> None:
    """RecipeError with all that is wrong with a recipe by itself, with ways out that were tried."""
    found = list(rules.all_problems(recipe, table))
    if found:
        raise RecipeError(tried_ways.only_working(found, lambda way: _attempt(way, recipe, table, None)))


def warnings(recipe: Recipe, table: OptionTable, device: Gpu | None = None) -> list[Problem]:
    """What a start would warn of that can be told without pictures and model, with ways out that were tried."""
    found = _odd(options.convert(recipe, table), device)
    return tried_ways.only_working(found, lambda way: _attempt(way, recipe, table, device))


def _attempt(way: WayOut, recipe: Recipe, table: OptionTable, device: Gpu | None) -> TryResult:
    changed = presets.with_overrides(recipe, [presets.parse_override(setting) for setting in way.settings])
    found = tuple(rules.all_problems(changed, table))
    return TryResult(found) if found else TryResult(warnings=tuple(_odd(options.convert(changed, table), device)))


def _anywhere(problem: Problem) -> Problem:
    """The problem, wherever its option is set: each dataset may set it."""
    return replace(problem, where=None)


def _odd(recipe: Recipe, device: Gpu | None) -> list[Problem]:
    return [*rules.warnings(recipe), *_slow(recipe, device)]


def _slow(recipe: Recipe, device: Gpu | None) -> list[Problem]:
    """What the GPU makes of the precision: slow, or NaN."""
    if device is None or device.has_bf16:
        return []
    precision = recipe.get("mixed_precision")
    full = [f"{option}=false" for option in ("full_bf16", "full_fp16") if recipe.is_on(option)]
    if not device.has_sound_fp16 and precision in {"bf16", "fp16"}:
        single = WayOut(("mixed_precision=no", *full), "fp32: up to twice the memory and time, and no NaN")
        emulated = WayOut(("mixed_precision=bf16", *(one for one in full if "fp16" in one)), "emulated: slow, no NaN")
        if precision == "bf16":
            words = f"{device.name} has no native bf16, which makes it slow, and its fp16 gives NaN"
            return [Problem(words, "where fp32 does not fit, stay with bf16", ways=(single,))]
        words = f"{device.name} computes NaN in fp16, as every GTX 16 does"
        return [Problem(words, ways=(single, emulated))]
    if precision != "bf16":
        return []
    ways = (WayOut(("mixed_precision=fp16", *full, "no_half_vae=true")),)
    return [Problem(f"{device.name} has no native bf16, which makes it slow", ways=ways)]
