"""Prepare a run from the user's choices: every check that can be made in advance, in one straight line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sdxl_train_cli import gpu
from sdxl_train_cli.dataset import cache_stamps, checking
from sdxl_train_cli.dataset.folders import PictureFile, TrainingPictures
from sdxl_train_cli.dataset.survey import OnProgress
from sdxl_train_cli.environment import environment, hub
from sdxl_train_cli.environment.environment import INSIDE, Environment
from sdxl_train_cli.errors import Gathering, Problem, UsageError
from sdxl_train_cli.failures.remedies import RunFacts
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory import cuda_context, measurements, requirement
from sdxl_train_cli.memory.measurements import MeasuredRuns
from sdxl_train_cli.memory.requirement import Known
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.records import runs, storage
from sdxl_train_cli.records.record import Inputs
from sdxl_train_cli.records.runs import Run
from sdxl_train_cli.rules import named_files, tried_ways
from sdxl_train_cli.run import (
    counting,
    early_spill,
    nodes,
    prediction,
    recipe_checks,
    sampling,
    several_gpus,
    validating,
)
from sdxl_train_cli.run.examination import Examiner
from sdxl_train_cli.run.guards import Guard
from sdxl_train_cli.run.prediction import PredictionChoice
from sdxl_train_cli.run.recipe_checks import PlannedRun, RecipeChecks
from sdxl_train_cli.run.run_choices import Choices, Elsewhere
from sdxl_train_cli.run.sampling import SamplePlan
from sdxl_train_cli.run.supervision import Conditions
from sdxl_train_cli.sdscripts import base_model, cache_makers, checkpoint, command
from sdxl_train_cli.sdscripts.cache_makers import CacheMakers
from sdxl_train_cli.sdscripts.command import InstalledTrainer
from sdxl_train_cli.sdscripts.options import OptionTable
from sdxl_train_cli.sdscripts.processes import EMPTY_CONFIG, Processes


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A trainer that can be started. Nothing is on disk yet."""

    environment: Environment
    run: Run
    recipe: Recipe
    argv: list[str]
    variables: Mapping[str, str]
    device: Gpu | None
    """The one with the least free memory, where there are several. None trains on the processor."""
    devices: tuple[Gpu, ...] = ()
    """Every GPU that it trains on."""
    notes: tuple[str, ...]
    model: str
    """In the form that sd-scripts accepts: a path, or a hub ID that must still be downloaded."""
    ends_early: Callable[[], str | None] | None = None
    """Asked now and then while it trains: why to stop it, or None. None never asks."""

    @property
    def heaviest(self) -> Recipe:
        """The recipe as the dataset trains with it that takes the most memory."""
        return self.recipe

    @property
    def saves_on_stop(self) -> bool:
        """Whether the trainer saves a state when it is asked to end (inside/saving.py)."""
        return str(INSIDE / "saving.py") in self.argv

    @property
    def facts(self) -> RunFacts:
        """What remedies depend on."""
        return RunFacts(self.recipe, None if self.device is None else self.device.name)

    @property
    def examiner(self) -> Examiner | None:
        """How the run's files are looked at. None in an environment that trains nothing: all would look untrained."""
        return Examiner(self.environment, self.recipe, self.model) if self.environment.trains else None


@dataclass(frozen=True, kw_only=True)
class Prepared(Launch):
    """A run that can start."""

    pictures: TrainingPictures
    warnings: tuple[Problem, ...]
    readable: tuple[PictureFile, ...]
    """Every picture that is trained on, with its size."""
    memory: str | None
    """What the check of GPU memory said; None where there was none."""
    samples: SamplePlan | None
    """What is drawn with prompts that the run's folder gets; None where nothing is, or a file of the user's says it."""
    home: Home
    choices: Choices

    @property
    def heaviest(self) -> Recipe:
        """The recipe as the dataset trains with it that takes the most memory."""
        return requirement.heaviest(self.pictures.recipes(self.recipe))

    @property
    def prompts(self) -> str | None:
        """Contents of the prompts file that the run's folder gets."""
        return None if self.samples is None else self.samples.text

    @property
    def is_scaled(self) -> bool:
        """Whether the model is scaled down, so that its memory says nothing about real runs."""
        return self.choices.shim is not None

    def conditions(self, guards_off: frozenset[Guard] = frozenset()) -> Conditions:
        """The conditions to supervise the run under."""
        return Conditions(
            gpu_index=self.device.index if self.device else None,
            guards_off=guards_off,
            saving_gib=storage.files(self.recipe).saving_gib,
            facts=self.facts,
            saves_on_stop=self.saves_on_stop,
            is_shared=self.recipe.processes > 1,
            usual=early_spill.usual_speed(self.heaviest, self.device, measurements.load(self.home)[0]),
            ends_early=self.ends_early,
        )


def prepare(choices: Choices, home: Home, user_presets: Path, on_progress: OnProgress | None = None) -> Prepared:
    """Check everything and build the command line. Raises what is wrong, writes nothing of the run.

    `on_progress` receives the number of inspected pictures.
    """
    installed = environment.require(home)
    installed.require_trainer(choices.kind)
    _require_several(choices)
    base, table = base_model.look(choices.model, hub.fetched(choices.model, os.environ)), installed.options()
    checks = RecipeChecks(choices=choices, base=base, installed=installed, table=table, user_presets=user_presets)
    found = _check(checks, home, on_progress)
    validating.require_judgeable(found.planned.recipe, keep_best=choices.keep_best)
    run = runs.plan(choices.output, choices.name)
    recipe = sampling.with_file(found.planned.recipe, run.prompts)
    storage.require(run.folder, recipe)
    inputs = paths(run, found.model, found.vae, choices.tokenizers or home.tokenizers)
    trainer = trained_by(installed, table, recipe, choices.shim, fast=choices.fast)
    counted = counting.of_new_run(installed, recipe, saves_on_stop=choices.saves_on_stop)
    marking = prediction.marking(installed, recipe, found.predicted.prediction)
    saver = saving(installed, choices, counted.script, recipe.kind)
    trainer = replace(trainer, marking=marking, counting=counted.script, saving=saver)
    processes = nodes.layout(several_gpus.layout(choices, found.devices), choices, os.environ)
    return Prepared(
        environment=installed,
        recipe=recipe,
        pictures=found.planned.pictures,
        run=run,
        argv=nodes.started(command.build(recipe, inputs, trainer, processes), choices.nodes, run.folder),
        variables=variables(home, found.model, processes, recipe, own_tokenizers=choices.tokenizers is not None),
        model=found.model,
        notes=(*found.notes, *counted.notes, *_gain_of_fast(found, choices), *_unchecked(choices)),
        warnings=found.warnings,
        readable=tuple(found.readable),
        memory=found.memory,
        samples=found.planned.samples,
        device=found.device,
        devices=found.devices,
        home=home,
        choices=choices,
    )


def _require_several(choices: Choices) -> None:
    """UsageError where as many GPUs can't train together, or aren't there: before the pictures are looked at."""
    several_gpus.require_possible(choices, choices.kind)
    if choices.processes > 1:
        there, is_idle = choices.elsewhere, choices.starts_later
        choose_devices(choices, choices.gpu_memory_gib, is_idle=is_idle, elsewhere=there)


@dataclass(frozen=True, kw_only=True)
class _Checked:
    """What was found where nothing is wrong."""

    planned: PlannedRun
    predicted: PredictionChoice
    device: Gpu | None
    devices: tuple[Gpu, ...]
    model: str
    vae: str | None
    readable: list[PictureFile]
    memory: str | None
    warnings: tuple[Problem, ...]
    measured: MeasuredRuns | None
    """What runs with these pictures took on this GPU. None where that is not asked."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided."""
        return (self.predicted.note, *self.predicted.notes, *self.planned.notes)


def _check(checks: RecipeChecks, home: Home, on_progress: OnProgress | None) -> _Checked:
    """Look at everything, and raise all that is wrong at once."""
    choices, gathering = checks.choices, Gathering()
    loaded: Recipe | None = None  # the pictures are looked at without one too
    with gathering.part():
        predicted = recipe_checks.load_recipe(checks)
        loaded = recipe = predicted.recipe
    with gathering.part():
        checked = checking.check(choices.source, loaded, on_progress, cache_makers_of(choices, loaded))
        checks = replace(checks, checked=checked)
        checking.require_no_error(checked)
    with gathering.part():
        if loaded is not None:
            checks.require_own_caches(loaded)
    with gathering.part():
        there, is_idle = choices.elsewhere, choices.starts_later
        devices = choose_devices(choices, choices.gpu_memory_gib, is_idle=is_idle, elsewhere=there)
        device = several_gpus.weakest(devices)
        checks = replace(checks, device=device, on_processor=device is None and (there is None or not there.has_gpu))
        if loaded is not None:
            checks.require_processor(loaded)
    need_is_known = gathering.is_empty
    with gathering.part():
        model = checkpoint.require_sdxl(choices.model, inpainting=_is_inpainting(loaded))
        checks.base.require_trainable(choices.model)
        if loaded is not None:
            checks.require_mask_input(loaded)
    with gathering.part():
        vae = checkpoint.require_vae(choices.vae) if choices.vae else None
    with gathering.part():
        if loaded is not None:
            named_files.require(loaded)
    measured, record_warnings = _records(checks, home)
    checks = checks if measured is None else replace(checks, known=measured.need)
    memory: str | None = None
    if need_is_known:
        planned = checks.planned(recipe)
    if need_is_known and checks.checks_memory:
        with gathering.part():
            memory = checks.require_memory(planned)
    gathering.require_none(lambda problems: tried_ways.only_working(problems, checks.attempt))
    odd = tried_ways.only_working([*checked.warnings, *checks.warnings(planned)], checks.attempt)
    return _Checked(
        planned=planned,
        predicted=predicted,
        device=device,
        devices=devices,
        model=model,
        vae=vae,
        readable=checked.survey.readable,
        memory=memory,
        warnings=(*predicted.warnings, *odd, *record_warnings),
        measured=measured,
    )


def _gain_of_fast(found: _Checked, choices: Choices) -> Iterator[str]:
    """Said of a plain run where --fast was measured to be faster with the same settings on this GPU."""
    if choices.fast or found.measured is None:
        return
    plain, fast = (found.measured.pictures_per_second(found.planned.recipe, fast=one) for one in (False, True))
    if plain is not None and fast is not None and fast > _CLEAR_GAIN * plain:
        yield f"with --fast these settings trained {fast / plain:.1f} times as many pictures a second on this GPU"


def _unchecked(choices: Choices) -> Iterator[str]:
    """Said of a run whose GPU nobody here knows."""
    there = choices.elsewhere
    if there is not None and there.gpu is None and there.has_gpu and not choices.on_processor:
        yield "GPU memory and precision are checked on the node alone; `sdxl-train cluster init` asks one what it has"


_CLEAR_GAIN = 1.1


def _is_inpainting(recipe: Recipe | None) -> bool:
    return recipe is not None and recipe.is_on("train_inpainting")


def cache_makers_of(choices: Choices, recipe: Recipe | None) -> CacheMakers | None:
    """What the run would make caches on disk with. None if it makes none."""
    if recipe is None or not cache_stamps.parts(recipe):
        return None
    return cache_makers.look(choices.model, choices.vae, hub.fetched(choices.model, os.environ))


def _records(checks: RecipeChecks, home: Home) -> tuple[MeasuredRuns | None, list[Problem]]:
    """What runs with these pictures took on this GPU, and what is wrong with the records."""
    if checks.checked is None or checks.device is None or not checks.checks_memory:
        return None, []
    records, problems = measurements.load(home)
    readable = checks.checked.survey.readable
    context = cuda_context.of(checks.device, checks.installed)
    commit, fast = checks.installed.lock.commit, checks.choices.fast
    return MeasuredRuns(records, checks.device, commit, readable, context, fast), problems


def choose_devices(
    inputs: Inputs, memory_gib: float | None = None, *, is_idle: bool = False, elsewhere: Elsewhere | None = None
) -> tuple[Gpu, ...]:
    """The GPUs of a run, here or `elsewhere`; none if it trains on the processor."""
    if inputs.on_processor:
        return ()
    if elsewhere is not None:
        return elsewhere.devices(inputs.processes)
    if inputs.processes > 1:
        return several_gpus.choose(inputs, memory_gib, is_idle=is_idle)
    device = choose_device(inputs.gpu_index, memory_gib, is_idle=is_idle)
    return () if device is None else (device,)


def choose_device(index: int | None, memory_gib: float | None = None, *, is_idle: bool = False) -> Gpu | None:
    """The GPU with this index, the freest visible one, or a hypothetical one. None if there is none.

    `is_idle` counts each as if other runs had ended.
    """
    if memory_gib is not None:
        return gpu.hypothetical(memory_gib, gpu.usual_headroom_gib(), index or 0)
    found = tuple(device.idle if is_idle else device for device in gpu.devices())
    visible = [text.strip() for text in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    if index is None and not all(text.isdecimal() for text in visible):  # unset, or names such as GPU-1a2b
        return max(found, key=lambda device: device.free_gib, default=None)
    wanted = [int(text) for text in visible] if index is None else [index]
    chosen = [device for device in found if device.index in wanted]
    if chosen:
        return max(chosen, key=lambda device: device.free_gib)
    asked = f"CUDA_VISIBLE_DEVICES={','.join(visible)}" if index is None else str(index)
    there = ", ".join(f"{device.index}: {device.name}" for device in found) or "none was found"
    raise UsageError(f"no GPU {asked}", f"the GPUs: {there}")


def device_now(index: int | None) -> Gpu | None:
    """The GPU's current state. None if it is gone."""
    try:
        return choose_device(index)
    except UsageError:
        return None


def need_gib(prepared: Prepared) -> float | None:
    """GPU memory that the run is expected to take: measured with these settings and pictures, or estimated.

    None on a processor.
    """
    device, installed = prepared.device, prepared.environment
    if device is None:
        return None
    records, context = measurements.load(prepared.home)[0], cuda_context.of(device, installed)
    fast = prepared.choices.fast
    measured = MeasuredRuns(records, device, installed.lock.commit, prepared.readable, context, fast)
    return requirement.need(prepared.heaviest, measured.need).high_gib


def check_memory(recipe: Recipe, device: Gpu | None, installed: Environment, home: Home, *, fast: bool) -> str:
    """The check of GPU memory for a run that goes on, in words; VramError where it is too little."""
    known: Known = requirement.unmeasured
    if device is not None:
        records, context = measurements.load(home)[0], cuda_context.of(device, installed)
        known = MeasuredRuns(records, device, installed.lock.commit, None, context, fast).need
    return f"VRAM: {requirement.require(recipe, device, list, known)}"


def paths(run: Run, model: str, vae: str | None, tokenizers: Path) -> command.TrainerInputs:
    """The run's input and output paths."""
    return command.TrainerInputs(
        model=model,
        vae=vae,
        dataset_config=run.dataset_config,
        output_dir=run.folder,
        output_name=run.name,
        logging_dir=run.logs,
        tokenizers=tokenizers,
    )


def trained_by(
    installed: Environment, table: OptionTable, recipe: Recipe, shim: Path | None, *, fast: bool
) -> InstalledTrainer:
    """The installed script that trains this kind, and our scripts that run it."""
    kind = recipe.kind
    return InstalledTrainer(
        python=installed.python,
        script=installed.checkout / kind.script,
        options=table.of(kind),
        validating=INSIDE / "validated.py" if validating.holds_back(recipe) and installed.trains else None,
        several=INSIDE / "several.py" if recipe.processes > 1 and installed.trains else None,
        shim=shim,
        fast=INSIDE / "fast.py" if fast and installed.trains else None,  # it changes torch
        drawing=INSIDE / "sampled.py" if installed.trains else None,
        accelerate_config=EMPTY_CONFIG,
    )


def saving(installed: Environment, inputs: Inputs, counted: Path | None, kind: Kind) -> Path | None:
    """The script that saves a state when a run is asked to stop. None where that is not wanted, or can't be.

    `counted` has the full trainer's states say how far they are.
    """
    can = installed.trains and (kind.is_network or counted is not None)
    return INSIDE / "saving.py" if inputs.saves_on_stop and can else None


def processes_on(device: Gpu | None) -> Processes:
    """The layout of a training on this GPU; None is the processor."""
    return Processes(gpus=() if device is None else (device.index,))


def variables(home: Home, model: str, processes: Processes, recipe: Recipe, *, own_tokenizers: bool) -> dict[str, str]:
    """The trainer's environment variables."""
    have_tokenizers = own_tokenizers or hub.has_tokenizers(home)
    found = environment.training_variables()
    found["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # the numbering of NVML and nvidia-smi
    found |= processes.variables()
    uploads = recipe.get("huggingface_repo_id") is not None
    if have_tokenizers and not checkpoint.is_hub_id(model) and not uploads:
        found["HF_HUB_OFFLINE"] = "1"  # everything is cached: no request can fail or hang
    return found
