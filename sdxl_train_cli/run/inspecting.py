"""Look at any model file, with what the run that made it was told, if it lies in that run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.inspection import verdict, weight_facts
from sdxl_train_cli.inspection.begun_look import BegunLook
from sdxl_train_cli.inspection.metadata_claims import TrainedWith
from sdxl_train_cli.inspection.verdict import ExaminedFile, ResultFinding
from sdxl_train_cli.inspection.weight_facts import WeightFacts
from sdxl_train_cli.records import history, record
from sdxl_train_cli.records.runs import Run
from sdxl_train_cli.run import examination
from sdxl_train_cli.run.examination import Examiner
from sdxl_train_cli.sdscripts import results

_NO_ENVIRONMENT = "weights need sd-scripts' environment, which `sdxl-train setup` installs"


@dataclass(frozen=True)
class Inspected:
    """What was found, and what could not be looked at."""

    examined: ExaminedFile
    findings: tuple[ResultFinding, ...]
    not_examined: str | None
    """Why the weights were not looked at."""


def finish(begun: BegunLook) -> Inspected:
    """Take what was found in the weights, and judge it. ModelError if they can't be read."""
    trained, recorded_base = _run_facts(begun.path, begun.installed)
    base = begun.base or (recorded_base if begun.model.is_checkpoint else None)
    weights, reason = _weights(begun, base)
    examined = verdict.assemble(begun.model, weights, trained)
    return Inspected(examined, verdict.judge(examined), reason)


def _weights(begun: BegunLook, base: Path | None) -> tuple[WeightFacts | None, str | None]:
    """What was found, or why nobody could look."""
    if begun.installed is None or not begun.installed.trains:
        return None, _NO_ENVIRONMENT
    wait = begun.wait or weight_facts.start(begun.installed, begun.path, base)
    try:
        return wait(), None
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
