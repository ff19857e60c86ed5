"""Look at any model file, with what the run that made it was told, if it lies in that run's folder."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import ModelError, SetupError
from sdxl_train_cli.inspection import model_file, verdict, weight_facts
from sdxl_train_cli.inspection.metadata_claims import TrainedWith
from sdxl_train_cli.inspection.verdict import ExaminedFile, ResultFinding
from sdxl_train_cli.inspection.weight_facts import WeightFacts
from sdxl_train_cli.records import history, record
from sdxl_train_cli.records.runs import Run
from sdxl_train_cli.run import examination
from sdxl_train_cli.run.examination import Examiner
from sdxl_train_cli.sdscripts import pickles, results

_NO_ENVIRONMENT = "weights need sd-scripts' environment, which `sdxl-train setup` installs"


@dataclass(frozen=True)
class Inspected:
    """What was found, and what could not be looked at."""

    examined: ExaminedFile
    findings: tuple[ResultFinding, ...]
    not_examined: str | None
    """Why the weights were not looked at."""


def inspect(path: Path, installed: Environment | None, base: Path | None) -> Inspected:
    """Look at a file. ModelError if it is not a complete safetensors file, or its weights can't be read."""
    _require_safetensors(path)
    if base is not None:
        _require_safetensors(base)
    trained, recorded_base = _run_facts(path, installed)
    with ThreadPoolExecutor(1) as pool:  # the environment's Python starts while the header is read
        looking = pool.submit(_weights, path, installed, base or recorded_base)
        model = model_file.read(path)
        weights, reason = looking.result()
    examined = verdict.assemble(model, weights, trained)
    return Inspected(examined, verdict.judge(examined), reason)


def _weights(path: Path, installed: Environment | None, base: Path | None) -> tuple[WeightFacts | None, str | None]:
    if installed is None or not installed.trains:
        return None, _NO_ENVIRONMENT
    try:
        return weight_facts.examine(installed, path, base=base), None
    except SetupError as error:
        return None, str(error)


def _run_facts(path: Path, installed: Environment | None) -> tuple[TrainedWith | None, Path | None]:
    """What the run was told whose folder the file lies in, and its base's file."""
    if installed is None or not files.is_file(path.parent / record.RUN):
        return None, None
    entry = history.load(path.parent)
    recipe, inputs = entry.record.recipe, entry.record.inputs
    if recipe is None or inputs is None or not results.is_checkpoint(path, entry.name):
        return None, None
    examiner = Examiner(installed, recipe, inputs.model)
    trained = examination.trained_with(examiner, Run(entry.folder, entry.name))
    return trained, examination.base_file(examiner)


def _require_safetensors(path: Path) -> None:
    if files.is_folder(path):
        inner = sorted(file.name for file in path.glob("*.safetensors"))
        hint = f"it has {', '.join(inner[:5])}" if inner else None
        raise ModelError(f"{path} is a folder: name one .safetensors file", hint)
    if not files.exists(path):
        raise ModelError(f"no file at {path}", "sdxl-train runs list shows every run")
    if path.suffix.lower() in pickles.SUFFIXES:
        raise ModelError(
            f"{path} is a pickle, which can hold code: it is never opened", "only .safetensors can be inspected"
        )
