"""Resume an interrupted run in its own folder, from its latest complete state."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from sdxl_train_cli import files, formatting
from sdxl_train_cli.dataset import cache_stamps, checking, stale_caches
from sdxl_train_cli.environment import environment, required_packages
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import TrainingError, UsageError
from sdxl_train_cli.importers import named_code
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind, Recipe, Setting
from sdxl_train_cli.records import in_use, runs, storage, untrusted_run
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.records.record import Inputs, Record
from sdxl_train_cli.records.runs import Run
from sdxl_train_cli.rules import named_files, rules
from sdxl_train_cli.run import (
    counting,
    early_spill,
    finishing,
    nodes,
    prediction,
    preparation,
    sampling,
    several_gpus,
)
from sdxl_train_cli.run.guards import Guard
from sdxl_train_cli.run.preparation import Launch
from sdxl_train_cli.run.run_choices import Elsewhere
from sdxl_train_cli.run.supervision import Conditions
from sdxl_train_cli.sdscripts import base_model, cache_makers, checkpoint, command, states
from sdxl_train_cli.sdscripts.command import Resumption
from sdxl_train_cli.sdscripts.options import OptionTable
from sdxl_train_cli.sdscripts.states import SavedState


@dataclass(frozen=True, kw_only=True)
class ResumedRun(Launch):
    """A run that can be resumed. Its record is unchanged yet."""

    resumption: Resumption
    changes: Mapping[str, Setting | None]
    """Settings that replace the record's after memory ran out."""

    def conditions(self, guards_off: frozenset[Guard] = frozenset()) -> Conditions:
        """The conditions to supervise the run under."""
        return Conditions(
            gpu_index=self.device.index if self.device else None,
            first_step=self.resumption.step,
            steps=self.resumption.steps or counting.steps(self.recipe),
            guards_off=guards_off,
            saving_gib=storage.files(self.recipe).saving_gib,
            facts=self.facts,
            saves_on_stop=self.saves_on_stop,
            is_shared=self.recipe.processes > 1,
            usual=early_spill.usual_speed(self.recipe, self.device),
            ends_early=self.ends_early,
        )


def prepare(  # noqa: PLR0913 - keyword-only, one per flag
    entry: Loaded,
    home: Home,
    *,
    steps: int | None,
    check_vram: bool,
    force: bool = False,
    changes: Mapping[str, Setting | None] = MappingProxyType({}),
    gpu_indices: tuple[int, ...] | None = None,
    saves_on_stop: bool = False,
    elsewhere: Elsewhere | None = None,
) -> ResumedRun:
    """Check everything that can be checked. Raises what is wrong, writes nothing.

    The command line is built from the recorded settings, never taken from a record, which may be a stranger's. `steps`
    is a new total length, to train beyond the original end. `force` asserts that the user has checked another
    computer's run or a foreign state. `gpu_indices` are other GPUs than the recorded ones, as many, or none for any.
    `saves_on_stop` saves a state when the run is asked to stop, whatever was recorded. `elsewhere` checks for another
    computer, on which it is to go on.
    """
    installed = environment.require(home)
    busy = in_use.still_running(entry, force=force, command="resume")
    if busy is not None:
        raise UsageError(busy)
    table = installed.options()
    recipe, inputs = _recipe(entry, installed, table, changes)
    resumption = _find_resumption(entry, recipe, installed, steps)
    if not force:
        untrusted_run.require_harmless_state(entry, resumption.state)
    untrusted_run.require_harmless_files(entry, recipe)
    model = checkpoint.require_sdxl(inputs.model, inpainting=recipe.is_on("train_inpainting"))
    vae = checkpoint.require_vae(inputs.vae) if inputs.vae else None
    inputs = inputs if gpu_indices is None else several_gpus.on(inputs, gpu_indices)
    inputs = replace(inputs, saves_on_stop=inputs.saves_on_stop or saves_on_stop)
    several_gpus.require_possible(inputs, recipe.kind)
    devices = preparation.choose_devices(inputs, elsewhere=elsewhere)
    device = several_gpus.weakest(devices)
    notes = [f"resuming from step {resumption.step}: {resumption.state.name}", *_changes(entry.record, installed)]
    notes += [*_order(recipe, resumption), *untrusted_run.notes(entry.record)]
    notes += filter(None, [prediction.difference(recipe, base_model.look(inputs.model), inputs.prediction)])
    _require_own_caches(recipe, inputs)
    is_known = elsewhere is None or bool(devices) or not elsewhere.has_gpu
    if check_vram and inputs.check_vram and not inputs.on_processor and is_known:
        notes.append(preparation.check_memory(recipe, device, installed, home, fast=inputs.fast))
    run = Run(entry.folder, entry.name)
    if not files.is_file(run.dataset_config):
        raise TrainingError(f"{run.dataset_config} is gone: it says which pictures are trained on", "start a new run")
    storage.require(run.folder, recipe)
    paths = preparation.paths(run, model, vae, inputs.tokenizers or home.tokenizers)
    shim = untrusted_run.own_script(inputs.shim)
    trainer = preparation.trained_by(installed, table, recipe, shim, fast=inputs.fast)
    marking = prediction.marking(installed, recipe, prediction.trained(recipe))
    saver = preparation.saving(installed, inputs, resumption.shim, recipe.kind)
    trainer = replace(trainer, marking=marking, saving=saver)
    processes = several_gpus.layout(inputs, devices)
    processes = processes if elsewhere else nodes.layout(processes, inputs, os.environ)
    return ResumedRun(
        environment=installed,
        run=run,
        recipe=recipe,
        model=model,
        resumption=resumption,
        argv=nodes.started(command.build(recipe, paths, trainer, processes, resumption), inputs.nodes, run.folder),
        variables=preparation.variables(
            home, inputs.model, processes, recipe, own_tokenizers=inputs.tokenizers is not None
        ),
        device=device,
        devices=devices,
        notes=tuple(notes),
        changes=changes,
    )


def begin(resumed: ResumedRun) -> None:
    """Record that the run resumes. The caller must hold the run. TrainingError if its state has gone or changed."""
    state = states.read(resumed.resumption.state)
    if state is None or state.step != resumed.resumption.step:
        raise TrainingError(
            f"{resumed.resumption.state} has just changed: another run in this folder has ended",
            f"try again: sdxl-train runs resume {formatting.shell_word(resumed.run.folder)}",
        )
    runs.add_attempt(resumed.run, resumed.argv, resumed.resumption.step, resumed.changes)


def _require_own_caches(recipe: Recipe, inputs: Inputs) -> None:
    """DatasetError if caches on disk were made by another run since."""
    if cache_stamps.parts(recipe):
        source = checking.DatasetSource(inputs.data, inputs.regularisation, inputs.repeats, inputs.trigger)
        found = checking.check(source, recipe, None, cache_makers.look(inputs.model, inputs.vae))
        stale_caches.require_none(found.findings)


def _recipe(
    entry: Loaded, installed: Environment, table: OptionTable, changes: Mapping[str, Setting | None]
) -> tuple[Recipe, Inputs]:
    """The recorded recipe, checked by the same rules as a new run."""
    recipe, inputs = entry.record.recipe, entry.record.inputs
    if recipe is None or inputs is None or not recipe.settings:
        raise UsageError(f"the record of {entry.folder} does not say what was run", "start a new run")
    kept = sampling.resumed(recipe.replaced(changes), Run(entry.folder, entry.name).prompts)
    recipe = rules.require(kept, table)
    named_code.require_harmless_recipe(recipe)
    required_packages.require(installed, recipe)
    named_files.require(recipe.replaced({"resume": None}))
    return recipe, inputs


def _find_resumption(entry: Loaded, recipe: Recipe, installed: Environment, steps: int | None) -> Resumption:
    counting.require_resumable(recipe.kind)
    found = states.complete(entry.folder)
    if not found:
        raise TrainingError(
            f"{entry.name} has no complete state to resume from",
            f"start it again: sdxl-train runs rerun {formatting.shell_word(entry.folder)}\n"
            "a state is saved beside each checkpoint, unless --no-save-state is given",
        )
    length = steps or counting.steps(recipe)
    left = [] if steps is None and finishing.is_trained(entry) else _usable(entry, found, length)
    state = (left or found)[-1]
    if length is not None and not left:
        words = f"has already made all its {length} steps" if steps is None else f"has already made {state.step} steps"
        raise UsageError(f"{entry.name} {words}", f"to make it longer: --steps {state.step + max(1, state.step // 2)}")
    return Resumption(state.folder, state.step, steps, counting.require(installed, recipe.kind))


def is_possible(entry: Loaded) -> bool:
    """Whether a run has a state that leaves it some steps to make."""
    recipe, found = entry.record.recipe, states.complete(entry.folder)
    if recipe is None or not counting.is_resumable(entry.record.kind):
        return False
    return bool(_usable(entry, found, counting.steps(recipe)))


def _usable(entry: Loaded, found: Sequence[SavedState], length: int | None) -> list[SavedState]:
    """The states that leave some steps to make: of a run that was cut off at its end, one from before."""
    left = [state for state in found if length is None or state.step < length]
    return left if entry.can_go_on or left == list(found) else []


def _order(recipe: Recipe, resumption: Resumption) -> list[str]:
    """What to say of a state that does not tell its epoch's order of pictures."""
    if recipe.processes > 1:  # their order comes from a generator that accelerate makes and does not save
        return ["several processes: the rest of the epoch comes in a new order of pictures"]
    if recipe.kind is not Kind.DREAMBOOTH or states.tells_order(resumption.state):
        return []
    return ["the state does not tell its epoch's order of pictures: the rest of the epoch comes in a new one"]


def _changes(record: Record, installed: Environment) -> list[str]:
    before = record.environment.commit if record.environment else None
    if before is None or before == installed.lock.commit:
        return []
    return [f"sd-scripts has changed since this run started: it was {before[:10]}, and is {installed.lock.commit[:10]}"]
