"""Begin to look at a model file: its header at once, its weights in another process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.inspection import model_file, weight_facts
from sdxl_train_cli.inspection.model_file import ModelFile
from sdxl_train_cli.inspection.weight_facts import WeightFacts


@dataclass(frozen=True)
class BegunLook:
    """A file that is being looked at."""

    path: Path
    model: ModelFile
    installed: Environment | None
    base: Path | None
    """The base that was named."""
    wait: Callable[[], WeightFacts] | None
    """Waits for what is found in the weights. None where the look has not begun."""


def begin(path: Path, installed: Environment | None, base: Path | None) -> BegunLook:
    """Begin the look. ModelError if a file is not a complete safetensors file.

    A checkpoint without a named base waits: the run that made it may know its base.
    """
    model_file.require_safetensors(path)
    if base is not None:
        model_file.require_safetensors(base)
    model = model_file.read(path)
    wait = None
    if installed is not None and installed.trains and (model.is_network or model.is_embedding or base is not None):
        wait = weight_facts.start(installed, path, base)
    return BegunLook(path, model, installed, base, wait)
