"""Handle run folders from strangers: anything that would execute code is refused, and only our own scripts run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sdxl_train_cli import files, formatting, layout
from sdxl_train_cli.environment.environment import INSIDE
from sdxl_train_cli.errors import ModelError, Problem, UsageError
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.records.record import Inputs, Record
from sdxl_train_cli.sdscripts import checkpoint, pickles

_SCRIPTS = ("scaled.py",)
"""Our scripts that a record may name: those of the tiny smoke test."""
_WEIGHTS = ("network_weights", "base_weights", "weights")


def own_script(named: Path | None) -> Path | None:
    """The installed script of ours that a record names. UsageError for any other.

    Only the name of a recorded path counts: the file there may be anybody's.
    """
    if named is None:
        return None
    if named.name not in _SCRIPTS:
        raise UsageError(
            f"the record names {named} as a launch script, and sdxl-train has no such script",
            "start a new run with settings that you know",
        )
    return INSIDE / named.name


def require_harmless_state(entry: Loaded, state: Path) -> None:
    """ModelError if loading the state would run code that no trainer's state contains."""
    problems = [
        Problem(
            f"{path} calls {code} when it is loaded, which no trainer writes",
            f"if this run is your own: sdxl-train runs resume {formatting.shell_word(entry.folder)} --force",
        )
        for path in _within(state)
        if (code := _foreign_code(path)) is not None
    ]
    if problems:
        raise ModelError(problems)


def require_harmless_files(entry: Loaded, recipe: Recipe) -> None:
    """ModelError if a file that the record names would run code when loaded."""
    problems = [
        Problem(
            f"{path} calls {code} when it is loaded",
            "if you trust the file, name it yourself: sdxl-train lora --model FILE, or convert it to .safetensors",
        )
        for path in (*_models(entry.record.inputs), *_weights(recipe))
        if (code := _foreign_code(path)) is not None
    ]
    if problems:
        raise ModelError(problems)


def notes(record: Record) -> Iterator[str]:
    """Yield what repeating the run would download from the hub or upload to it, as the record may be a stranger's."""
    inputs, recipe = record.inputs, record.recipe
    for what, name in (("model", inputs.model), ("VAE", inputs.vae)) if inputs else ():
        if name and name != checkpoint.SDXL_BASE and checkpoint.is_hub_id(name):
            yield f"the record names a {what} on the hub, which is fetched and loaded: {name}"
    place = recipe.get("huggingface_repo_id") if recipe else None
    if place is not None:
        yield f"the record sends the results to the hub, to huggingface_repo_id: {place}"


def _models(inputs: Inputs | None) -> Iterator[Path]:
    """Files of model and VAE that torch loads. sd-scripts treats all others as safetensors."""
    for name in filter(None, (inputs.model, inputs.vae) if inputs else ()):
        path = layout.expand(Path(name))
        if files.is_folder(path):
            yield from _within(path)
        elif path.suffix.lower() != ".safetensors":
            yield path


def _weights(recipe: Recipe) -> Iterator[Path]:
    """Weight files that torch loads. Here sd-scripts recognises only lower-case suffixes (networks/lora.py)."""
    for option in _WEIGHTS:
        value = recipe.get(option)
        for name in value if isinstance(value, tuple) else () if value is None else (value,):
            path = layout.expand(Path(str(name)))
            if path.suffix != ".safetensors":
                yield path


def _within(folder: Path) -> list[Path]:
    """Files of a state or a diffusers folder that torch loads. The latter has a folder for each part."""
    inside = [*folder.glob("*"), *folder.glob("*/*")]
    return sorted(path for path in inside if path.suffix.lower() in pickles.SUFFIXES)


def _foreign_code(path: Path) -> str | None:
    try:
        return pickles.foreign_code(path)
    except (OSError, ValueError):
        return None  # an unreadable file is reported where it is used
