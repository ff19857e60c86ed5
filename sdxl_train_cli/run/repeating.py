"""Store the user's choices in a run's record, and repeat them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sdxl_train_cli import files, formatting, layout
from sdxl_train_cli.dataset import trainer_config
from sdxl_train_cli.errors import RecipeError, UsageError
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.recipes import preset_folders, presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.records import runs, untrusted_run
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.records.record import Inputs, Record
from sdxl_train_cli.run import prediction, run_choices, validating
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.sdscripts import checkpoint, command, sample_prompts

_FOUND_ANEW = (*prediction.ORIGINS, *validating.ORIGINS, sample_prompts.ORIGIN)
"""Origins of settings that follow from choices, model and pictures."""


@dataclass(frozen=True)
class RepeatedChoices:
    """The choices of a recorded run, and notes on what could not be taken over."""

    choices: Choices
    notes: tuple[str, ...]


def record(prepared: Prepared) -> Record:
    """The record of a run that is about to start."""
    return runs.record_of(
        prepared.run,
        recipe=prepared.recipe,
        pictures=prepared.pictures,
        argv=prepared.argv,
        environment=prepared.environment,
        inputs=inputs(prepared.choices),
        gpu=prepared.device,
    )


def inputs(choices: Choices) -> Inputs:
    """The choices with absolute paths."""
    return replace(
        choices,
        preset=_anywhere(choices.preset) if preset_folders.is_path(choices.preset) else choices.preset,
        model=choices.model if checkpoint.is_hub_id(choices.model) else _anywhere(choices.model),
        data=layout.expand(choices.data),
        output=layout.expand(choices.output),
        vae=_anywhere(choices.vae) if choices.vae else None,
        regularisation=layout.expand(choices.regularisation) if choices.regularisation else None,
        shim=Path(choices.shim.name) if choices.shim else None,
    )


def choices_of(entry: Loaded, name: str | None, user_presets: Path) -> RepeatedChoices:
    """The choices that repeat a recorded run with the same settings.

    Raises UsageError if the record is too old to contain the choices.
    """
    kept, recipe = entry.record.inputs, entry.record.recipe
    kinds = {kind.value: kind for kind in Kind}
    if kept is None or entry.record.kind not in kinds or not entry.record.settings:
        raise UsageError(
            f"the record of {entry.name} does not say what was chosen: an older sdxl-train wrote it",
            f"its settings: sdxl-train runs show {formatting.shell_word(entry.folder)} --all",
        )
    kind = kinds[entry.record.kind]
    if recipe is not None:
        untrusted_run.require_harmless_files(entry, recipe)
    base, notes = _base(kind, kept.preset, user_presets)
    is_gone = bool(notes)
    settings = dict(entry.record.settings)
    settings = {option: setting for option, setting in settings.items() if setting.origin not in _FOUND_ANEW}
    begun = settings.get("resume")
    if begun is not None:  # a foreign state would be loaded, and one on the hub can't be inspected
        settings = {option: setting for option, setting in settings.items() if option not in command.STARTS}
        notes = (*notes, f"the run started from a state, but the new one starts at step 0 without it: {begun.value}")
    overrides = [Override(option, setting.value, setting.origin, setting.sizes) for option, setting in settings.items()]
    overrides += [Override(option, None, Origin("the record")) for option in base.settings if option not in settings]
    chosen = replace(
        kept,
        preset=run_choices.DEFAULT_PRESETS[kind] if is_gone else kept.preset,
        shim=untrusted_run.own_script(kept.shim),
        job=None,
    )
    choices = Choices(**vars(chosen), kind=kind, name=name or entry.name, overrides=tuple(overrides))
    return RepeatedChoices(choices, (*notes, *untrusted_run.notes(entry.record)))


def changes(entry: Loaded, prepared: Prepared) -> Iterator[str]:
    """Yield what has changed since, so that the same settings may give a different result."""
    before, now = entry.record.environment, prepared.environment.lock
    if before is not None and before.commit != now.commit:
        yield f"sd-scripts has changed since that run: it was {_short(before.commit)}, and is {_short(now.commit)}"
    if before is not None:
        others = [name for name, version in now.packages.items() if before.packages.get(name) != version]
        if others and before.packages:
            more = f" and {len(others) - 3} more" if len(others) > 3 else ""  # noqa: PLR2004 - enough to identify it
            yield f"package versions have changed since: {', '.join(sorted(others)[:3])}{more}"
    data = entry.record.dataset
    if data is not None and data.fingerprint != trainer_config.fingerprint(prepared.pictures):
        yield "the pictures or captions have changed since"
    if prepared.recipe.get("seed") is None:
        yield "the run had no seed: its noise and its order of pictures will differ"


def _base(kind: Kind, preset: str, user_presets: Path) -> tuple[Recipe, tuple[str, ...]]:
    try:
        return presets.load(kind, preset, (), user_presets), ()
    except RecipeError:
        usual = run_choices.DEFAULT_PRESETS[kind]
        note = f"the preset {preset} is gone or broken: the settings are taken from the record"
        return presets.load(kind, usual, (), user_presets), (note,)


def _anywhere(text: str) -> str:
    """An absolute path. Anything else, such as a hub ID, is returned unchanged."""
    path = layout.expand(Path(text))
    return str(path) if files.exists(path) else text


def _short(commit: str | None) -> str:
    return (commit or "unknown")[:10]
