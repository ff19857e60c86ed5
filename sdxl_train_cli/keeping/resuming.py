"""Go on with a run that was cut off: in its own folder, from its furthest whole state, counting on from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from sdxl_train_cli import command, preparation, spelling
from sdxl_train_cli.command import GoingOn
from sdxl_train_cli.errors import SetupError, TrainingError, UsageError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.installation import environment
from sdxl_train_cli.installation.environment import INSIDE, Environment
from sdxl_train_cli.keeping import states, storage
from sdxl_train_cli.keeping.history import Loaded, State
from sdxl_train_cli.keeping.record import Record
from sdxl_train_cli.keeping.runs import Run
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind, Recipe, Setting
from sdxl_train_cli.watching.guards import Guard
from sdxl_train_cli.watching.supervision import Conditions


@dataclass(frozen=True)
class Resumed:
    """A run that can go on; nothing of its record is changed yet."""

    environment: Environment
    run: Run
    recipe: Recipe
    going_on: GoingOn
    argv: list[str]
    variables: Mapping[str, str]
    device: Gpu | None
    """None on a processor."""
    notes: tuple[str, ...]
    changes: Mapping[str, Setting]
    """Settings other than the record's: memory has run out."""

    def conditions(self, guards_off: frozenset[Guard] = frozenset()) -> Conditions:
        """What the run is watched under."""
        return Conditions(
            gpu_index=self.device.index if self.device else None,
            first_step=self.going_on.step,
            steps=self.going_on.steps or _length(self.recipe),
            guards_off=guards_off,
            saving_gib=storage.files(self.recipe).saving_gib,
        )


def prepare(
    entry: Loaded,
    home: Home,
    *,
    steps: int | None,
    check_vram: bool,
    changes: Mapping[str, Setting] = MappingProxyType({}),
) -> Resumed:
    """Check all that can be checked; raises what is wrong, writes nothing.

    `steps` is a new length of the whole run, for one that shall go on beyond its end.
    """
    installed = environment.require(home)
    recipe = _recipe(entry).replaced(changes)
    going_on = _going_on(entry, recipe, installed, steps)
    inputs = entry.record.inputs
    on_processor = "--cpu" in entry.record.argv
    device = None if on_processor else preparation.choose_device(inputs.gpu_index if inputs else None)
    notes = [f"going on from step {going_on.step}: {going_on.state.name}", *_changes(entry.record, installed)]
    if check_vram and not on_processor:
        notes.append(preparation.room(recipe, device))
    run = Run(entry.folder, entry.name)
    storage.require(run.folder, recipe)
    began = _command(entry.record, changes, installed, recipe.kind)
    argv = command.resumed(began, installed.python, installed.checkout / recipe.kind.script, going_on)
    tokenizers = inputs is not None and inputs.tokenizers is not None
    return Resumed(
        environment=installed,
        run=run,
        recipe=recipe,
        going_on=going_on,
        argv=argv,
        variables=preparation.variables(home, inputs.model if inputs else "", device, own_tokenizers=tokenizers),
        device=device,
        notes=tuple(notes),
        changes=changes,
    )


def _command(record: Record, changes: Mapping[str, Setting], installed: Environment, kind: Kind) -> Sequence[str]:
    """The first start's command line with what was changed since."""
    values = {name: value for attempt in record.attempts for name, value in attempt.changed.items()}
    values |= {name: setting.value for name, setting in changes.items()}
    if not values:
        return record.argv
    return command.changed(record.argv, kind.script, values, installed.options().of(kind))


def _recipe(entry: Loaded) -> Recipe:
    record = entry.record
    if entry.state is State.RUNNING:
        raise UsageError(f"{entry.name} is still going on", "stop it first, with Ctrl-C where it runs")
    recipe = record.recipe
    if recipe is None or not record.argv:
        raise UsageError(f"the record of {entry.folder} does not say what was run", "start the run anew")
    if recipe.kind is Kind.DREAMBOOTH:
        raise TrainingError(
            "sd-scripts can't take up a Dreambooth run: it would make all steps again from the first",
            f"train on from a checkpoint in {entry.folder}: sdxl-train dreambooth --model CHECKPOINT",
        )
    return recipe


def _going_on(entry: Loaded, recipe: Recipe, installed: Environment, steps: int | None) -> GoingOn:
    found = states.complete(entry.folder)
    if not found:
        raise TrainingError(
            f"{entry.name} has no whole state to go on from",
            f"start it again: sdxl-train runs rerun {spelling.shell_word(entry.folder)}\n"
            "a state is saved beside each checkpoint, unless --no-save-state says otherwise",
        )
    state, length = found[-1], steps or _length(recipe)
    if length is not None and state.step >= length:
        raise UsageError(
            f"{entry.name} has made all its {length} steps", f"to make it longer: --steps {state.step + length // 2}"
        )
    return GoingOn(state.folder, state.step, steps, None if installed.is_rehearsal else _shim(installed))


def _shim(installed: Environment) -> Path:
    answer = environment.ask(installed, "resumed.py", "--check")
    if not answer["resumable"]:
        raise SetupError(
            f"this sd-scripts can't be resumed with a right count: {answer['reason']}",
            "sdxl-train setup --ref v0.10.1 installs one that can",
        )
    return INSIDE / "resumed.py"


def _length(recipe: Recipe) -> int | None:
    """The whole run's steps; None where it is told in epochs, which only the trainer can count."""
    steps = recipe.number("max_train_steps")
    return None if steps is None or recipe.get("max_train_epochs") is not None else int(steps)


def _changes(record: Record, installed: Environment) -> list[str]:
    before = record.environment.commit if record.environment else None
    if before is None or before == installed.lock.commit:
        return []
    return [f"sd-scripts is another one than at the start: {installed.lock.commit[:10]}, it was {before[:10]}"]
