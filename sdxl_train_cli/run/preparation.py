"""Prepare a run from the user's choices: every check that can be made in advance, in one straight line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sdxl_train_cli import gpu
from sdxl_train_cli.dataset import cache_stamps, checking, sources
from sdxl_train_cli.dataset.folders import PictureFile, TrainingPictures
from sdxl_train_cli.dataset.survey import OnProgress
from sdxl_train_cli.environment import environment, hub, required_packages
from sdxl_train_cli.environment.environment import INSIDE, Environment
from sdxl_train_cli.errors import Gathering, Problem, UsageError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.importers import named_code
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory import measurements, requirement, savings
from sdxl_train_cli.memory.measurements import MeasuredRuns
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.records import runs, storage
from sdxl_train_cli.records.runs import Run
from sdxl_train_cli.rules import named_files, rules
from sdxl_train_cli.run import prediction
from sdxl_train_cli.run.guards import Guard
from sdxl_train_cli.run.prediction import PredictionChoice
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.run.supervision import Conditions
from sdxl_train_cli.sdscripts import base_model, cache_makers, checkpoint, command, lycoris
from sdxl_train_cli.sdscripts.base_model import BaseModel, Prediction
from sdxl_train_cli.sdscripts.cache_makers import CacheMakers
from sdxl_train_cli.sdscripts.command import InstalledTrainer
from sdxl_train_cli.sdscripts.options import OptionTable


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A trainer that can be started. Nothing is on disk yet."""

    environment: Environment
    run: Run
    recipe: Recipe
    argv: list[str]
    variables: Mapping[str, str]
    device: Gpu | None
    """None trains on the processor."""
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Prepared(Launch):
    """A run that can start."""

    pictures: TrainingPictures
    model: str
    """In the form that sd-scripts accepts: a path, or a hub ID that must still be downloaded."""
    warnings: tuple[Problem, ...]
    home: Home
    choices: Choices

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
        )


def prepare(choices: Choices, home: Home, user_presets: Path, on_progress: OnProgress | None = None) -> Prepared:
    """Check everything and build the command line. Raises what is wrong, writes nothing of the run.

    `on_progress` receives the number of inspected pictures.
    """
    # Long on purpose: it only lists the steps, in the order in which they run.
    installed = environment.require(home)
    table = installed.options()
    gathering = Gathering()
    base = base_model.look(choices.model, hub.fetched(choices.model, os.environ))
    loaded: Recipe | None = None  # pictures are inspected without one too
    with gathering.part():
        predicted = _recipe(choices, base, installed, table, user_presets)
        loaded = recipe = predicted.recipe
    with gathering.part():
        checked = checking.require(choices.source, loaded, on_progress, cache_makers_of(choices, loaded))
        pictures = checked.survey.pictures
    with gathering.part():
        device = None if choices.on_processor else choose_device(choices.gpu_index, choices.gpu_memory_gib)
    need_is_known = gathering.is_empty
    with gathering.part():
        model = checkpoint.require_sdxl(choices.model, inpainting=_is_inpainting(loaded))
        base.require_trainable(choices.model)
    with gathering.part():
        vae = checkpoint.require_vae(choices.vae) if choices.vae else None
    with gathering.part():
        if loaded is not None:
            named_files.require(loaded)
    record_warnings, notes = list[Problem](), list[str]()
    if need_is_known:
        recipe, notes = _with_prefix(recipe, pictures)
    if need_is_known and choices.check_vram and not choices.on_processor:
        known, record_warnings = _measured_runs(checked.survey.readable, installed, device, home)
        with gathering.part():
            notes.append(check_memory(recipe, device, known))
    gathering.require_none()
    run = runs.plan(choices.output, choices.name)
    storage.require(run.folder, recipe)
    inputs = paths(run, model, vae, choices.tokenizers or home.tokenizers)
    trainer = trained_by(installed, table, choices.kind, choices.shim, fast=choices.fast)
    trainer = replace(trainer, marking=prediction.marking(installed, recipe, predicted.prediction))
    return Prepared(
        environment=installed,
        recipe=recipe,
        pictures=pictures,
        run=run,
        argv=command.build(recipe, inputs, trainer, device.index if device else None),
        variables=variables(home, model, device, own_tokenizers=choices.tokenizers is not None),
        model=model,
        notes=(predicted.note, *notes),
        warnings=(
            *predicted.warnings,
            *checked.warnings,
            *rules.warnings(recipe),
            *_bf16_warnings(recipe, device),
            *record_warnings,
        ),
        device=device,
        home=home,
        choices=choices,
    )


def _is_inpainting(recipe: Recipe | None) -> bool:
    return recipe is not None and recipe.is_on("train_inpainting")


def cache_makers_of(choices: Choices, recipe: Recipe | None) -> CacheMakers | None:
    """What the run would make caches on disk with. None if it makes none."""
    if recipe is None or not cache_stamps.parts(recipe):
        return None
    return cache_makers.look(choices.model, choices.vae, hub.fetched(choices.model, os.environ))


def _recipe(
    choices: Choices, base: BaseModel, installed: Environment, table: OptionTable, user_presets: Path
) -> PredictionChoice:
    """The recipe to launch, adapted to the base model and the installed network modules."""
    overrides = (*sources.overrides(choices.data), *choices.overrides)
    loaded = presets.load(choices.kind, choices.preset, overrides, user_presets)
    gathering = Gathering()
    predicted = PredictionChoice(loaded, Prediction.EPSILON, "")
    with gathering.part():
        predicted = prediction.settle(loaded, base, choices.prediction, choices.model)
    with gathering.part():
        typed = rules.require(predicted.recipe, table)
    gathering.require_none()
    recipe = named_files.resolve_paths(lycoris.resolve(typed, installed.networks))
    named_code.require_harmless_recipe(recipe)
    required_packages.require(installed, recipe)
    return replace(predicted, recipe=recipe)


def _with_prefix(recipe: Recipe, pictures: TrainingPictures) -> tuple[Recipe, list[str]]:
    """Disable cached text-encoder outputs if the trigger is prepended to captions, as they would lack it."""
    cached = [name for name in ("cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk") if recipe.get(name)]
    if not pictures.has_prefix or not cached:
        return recipe, []
    note = "no caption has the trigger: it is put first in each, so text-encoder outputs are not cached (+1.5 GB)"
    return recipe.replaced(dict.fromkeys(cached)), [note]


def choose_device(index: int | None, memory_gib: float | None = None) -> Gpu | None:
    """The GPU with this index, the freest visible one, or a hypothetical one. None if there is none."""
    if memory_gib is not None:
        return gpu.hypothetical(memory_gib, gpu.usual_headroom_gib(), index or 0)
    found = gpu.devices()
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


def _measured_runs(
    pictures: Sequence[PictureFile], installed: Environment, device: Gpu | None, home: Home
) -> tuple[requirement.Known, list[Problem]]:
    """Measurements for these pictures on this GPU, and problems with the records."""
    if device is None:
        return requirement.unmeasured, []
    records, problems = measurements.load(home)
    return MeasuredRuns(records, device, installed.lock.commit, pictures).need, problems


def check_memory(recipe: Recipe, device: Gpu | None, known: requirement.Known = requirement.unmeasured) -> str:
    """Check GPU memory and return the result in words. VramError if there is too little."""
    return requirement.require(recipe, device, lambda: _ways_out(recipe, device, known), known)


def _ways_out(recipe: Recipe, device: Gpu | None, known: requirement.Known) -> list[str]:
    return [str(way) for way in savings.ways_out(recipe, device.free_gib, known)] if device else []


def _bf16_warnings(recipe: Recipe, device: Gpu | None) -> list[Problem]:
    if device is None or device.has_bf16 or recipe.get("mixed_precision") != "bf16":
        return []
    return [Problem(f"{device.name} has no native bf16, which makes it slow", "--set mixed_precision=fp16")]


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
    installed: Environment, table: OptionTable, kind: Kind, shim: Path | None, *, fast: bool
) -> InstalledTrainer:
    """The installed script that trains this kind, and our scripts that run it."""
    return InstalledTrainer(
        python=installed.python,
        script=installed.checkout / kind.script,
        options=table.of(kind),
        shim=shim,
        fast=INSIDE / "fast.py" if fast and installed.trains else None,  # it changes torch
    )


def variables(home: Home, model: str, device: Gpu | None, *, own_tokenizers: bool) -> dict[str, str]:
    """The trainer's environment variables."""
    have_tokenizers = own_tokenizers or hub.has_tokenizers(home)
    found = environment.training_variables()
    found["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # the numbering of NVML and nvidia-smi
    if device is None:
        found["CUDA_VISIBLE_DEVICES"] = "-1"
    else:
        found.pop("CUDA_VISIBLE_DEVICES", None)  # accelerate's --gpu_ids sets it
    if have_tokenizers and not checkpoint.is_hub_id(model):
        found["HF_HUB_OFFLINE"] = "1"  # everything is cached: no request can fail or hang
    return found
