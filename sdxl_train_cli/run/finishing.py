"""Finish a run that was cut off after its last step: its file is looked at, and nothing is trained."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.environment import environment
from sdxl_train_cli.errors import TrainingError
from sdxl_train_cli.layout import Home
from sdxl_train_cli.records import metrics, runs
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.records.metrics import StepMetrics
from sdxl_train_cli.records.record import Outcome
from sdxl_train_cli.records.runs import Run
from sdxl_train_cli.run import counting, examination, training
from sdxl_train_cli.run.examination import Examiner
from sdxl_train_cli.run.training import RunResult
from sdxl_train_cli.sdscripts import results, states
from sdxl_train_cli.sdscripts.scalars import EventFileTail


def is_trained(entry: Loaded) -> bool:
    """Whether a run that did not end well has made all its steps, and has a whole file of the last one."""
    return entry.can_go_on and _trained_file(entry) is not None


def finish(entry: Loaded, home: Home) -> RunResult:
    """Look at the file and note that the run is done. TrainingError if the file is of no use.

    UsageError if another process has the run.
    """
    installed, inputs = environment.require(home), entry.record.inputs
    run = Run(entry.folder, entry.name)
    with runs.running(run):
        made, recipe = _trained_file(entry), entry.record.recipe
        if made is None or recipe is None or inputs is None:
            raise TrainingError(f"{entry.folder} has just changed", "look at it: sdxl-train runs list")
        try:
            if made != run.result:
                files.copy(made, run.result)
            step = states.complete(run.folder)[-1].step
            metrics.truncate(run.metrics, step, EventFileTail(run.logs).read())
        except OSError as error:
            raise TrainingError(
                f"{run.folder} can't be written: {error.strerror}", "check space and permissions there"
            ) from error
        told = metrics.load(run.metrics)
        outcome = Outcome(outcome="done", steps=step, seconds=_seconds(entry, told),
                          loss=told[-1].shown_loss if told else None, exit_code=0)  # fmt: skip
        examiner = Examiner(installed, recipe, inputs.model) if installed.trains else None
        return _noted(run, outcome, examiner)


def _noted(run: Run, outcome: Outcome, examiner: Examiner | None) -> RunResult:
    """The result, noted in the run's folder. TrainingError if it is of no use, noted too."""
    step = outcome.steps or 0
    found = None if examiner is None else examination.examine_result(examiner, run, step)
    error = None if found is None else training.no_use(run, found)
    outcome = outcome.model_copy(update={"examined": () if found is None else (found,)})
    if error is not None:
        problem = error.problems[0]
        told = {"outcome": "failed", "cause": problem.message, "remedy": problem.hint}
        runs.write_outcome(run, outcome.model_copy(update=told))
        raise error
    states.prune(run.folder, run.name)
    runs.write_outcome(run, outcome)
    summary = None if found is None else found.summary
    return RunResult(run.result, step, outcome.seconds or 0.0, outcome.loss, found=summary)


def _trained_file(entry: Loaded) -> Path | None:
    """The result, or the checkpoint of the last step, which is the same. None unless all steps are made."""
    recipe, saved = entry.record.recipe, states.complete(entry.folder)
    if recipe is None or not saved:
        return None
    length, result = counting.steps(recipe), Run(entry.folder, entry.name).result
    whole = [made for made in results.checkpoints(entry.folder, entry.name) if made.is_whole]
    if length is None:  # a length in epochs: only the trainer counts them, and it writes the result when all are made
        with contextlib.suppress(OSError):
            is_last = result.stat().st_mtime >= (saved[-1].folder / states.PARTS[0]).stat().st_mtime
            return result if is_last and any(made.path == result for made in whole) else None
        return None
    of_the_end = [made.path for made in whole if made.path == result or made.step == length]
    return of_the_end[-1] if of_the_end and saved[-1].step == length else None


def _seconds(entry: Loaded, told: Sequence[StepMetrics]) -> float:
    """What the steps of the last start took; the rest of it is not known."""
    attempts = entry.record.attempts
    first = (attempts[-1].from_step or 0) if attempts else 0
    return round(sum(step.seconds or 0.0 for step in told if step.step > first), 1)
