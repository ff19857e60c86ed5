"""Look at what a run writes: its first checkpoint while training goes on, and its result at the end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import files, signals
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import ModelError, Problem, SetupError
from sdxl_train_cli.inspection import model_file, verdict, weight_facts
from sdxl_train_cli.inspection.metadata_claims import TrainedWith
from sdxl_train_cli.inspection.verdict import ResultFinding
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.records import metrics
from sdxl_train_cli.records.record import Examination, ExaminationFinding
from sdxl_train_cli.records.runs import Run
from sdxl_train_cli.sdscripts import results
from sdxl_train_cli.sdscripts.progress import CheckpointSaving, Step

LAST_SECONDS = 60.0
"""How long the end of a run waits for the look at its first checkpoint."""


@dataclass(frozen=True)
class Examiner:
    """What is needed to look at a run's files: who looks, and what the run was told."""

    environment: Environment
    recipe: Recipe
    model: str
    """The base, as sd-scripts takes it."""


@dataclass(frozen=True)
class ResultExamined:
    """A checkpoint of the run was looked at."""

    file: str
    summary: str
    problems: tuple[Problem, ...]
    """What is wrong with it. At the end of the run, what makes the result useless is its error instead."""
    is_result: bool = False


class FirstCheckpoint:
    """Looks at the first checkpoint that a run writes, in the background and at low priority."""

    def __init__(self, run: Run, examiner: Examiner | None) -> None:
        self._run, self.examiner = run, examiner
        self._path: Path | None = None
        self._step = self._saved_at = 0
        self._thread: threading.Thread | None = None
        self._found: Examination | None = None
        self._is_told = False

    @property
    def found(self) -> tuple[Examination, ...]:
        """What was found. Empty until then."""
        return () if self._found is None else (self._found,)

    def hear(self, event: object) -> None:
        """Take an event of the run: the file is whole once a later step is told."""
        if isinstance(event, Step):
            self._step = event.step
            if self._path is not None and self._thread is None and event.step > self._saved_at:
                self._thread = threading.Thread(target=self._look, args=(self._path,), daemon=True)
                self._thread.start()
        elif isinstance(event, CheckpointSaving) and self._path is None and self.examiner is not None:
            path = self._run.folder / Path(event.path).name
            if (
                path.suffix == ".safetensors"
                and path != self._run.result
                and results.is_checkpoint(path, self._run.name)
            ):
                self._path, self._saved_at = path, self._step

    def events(self) -> Iterator[ResultExamined]:
        """What is to be told, once."""
        if self._found is not None and not self._is_told:
            self._is_told = True
            yield as_event(self._found)

    def close(self, patience_seconds: float) -> Iterator[ResultExamined]:
        """Wait a while for what is not found yet, and tell it."""
        with contextlib.suppress(signals.Stopped):
            if self._thread is not None:
                self._thread.join(patience_seconds)
        yield from self.events()

    def _look(self, path: Path) -> None:
        if self.examiner is not None:
            self._found = examine(self.examiner, self._run, path, self._saved_at, in_background=True)


def examine_result(examiner: Examiner, run: Run, step: int) -> Examination:
    """Look at the trained file, and whether it moved since the checkpoint before. A signal ends only the look."""
    earlier = [
        made.path
        for made in results.checkpoints(run.folder, run.name)
        if made.path != run.result and made.is_whole and made.step != step
    ]
    try:
        return examine(examiner, run, run.result, step, earlier=earlier[-1] if earlier else None)
    except signals.Stopped:
        return Examination(file=run.result.name, step=step, summary="not looked at: it was stopped")


def examine(  # noqa: PLR0913 - the last two are keyword-only
    examiner: Examiner, run: Run, path: Path, step: int, *, earlier: Path | None = None, in_background: bool = False
) -> Examination:
    """Look at one file. Says so where it can't be looked at, and never raises for it."""
    started_from = _starting_weights(examiner.recipe)
    try:
        model = model_file.read(path)
        weights = weight_facts.examine(
            examiner.environment,
            path,
            base=base_file(examiner),
            earlier=started_from or earlier,
            in_background=in_background,
        )
    except (ModelError, SetupError) as error:
        return Examination(file=path.name, step=step, summary=f"not looked at: {error}")
    examined = verdict.assemble(model, weights, trained_with(examiner, run), is_continued=started_from is not None)
    findings = verdict.judge(examined)
    return Examination(
        file=path.name,
        step=step,
        summary=verdict.summary(examined, findings),
        findings=tuple(_recorded(finding) for finding in findings),
    )


def trained_with(examiner: Examiner, run: Run) -> TrainedWith:
    """What the run was told, as far as its result must show it."""
    recipe = examiner.recipe
    rates = [rate for metric in metrics.load(run.metrics) for rate in metric.rates.values()]
    return TrainedWith(
        v_prediction=bool(recipe.get("v_parameterization")),
        resolution=tuple(
            int(side) for side in str(recipe.get("resolution") or "").split(",") if side.strip().isdigit()
        ),
        base=examiner.model,
        highest_rate=max(rates, default=None),
        optimizer=str(recipe.get("optimizer_type") or "its optimizer"),
    )


def as_event(found: Examination, *, is_result: bool = False) -> ResultExamined:
    """The event that tells of it."""
    told = tuple(Problem(one.message, one.hint) for one in found.findings if not (is_result and one.is_fatal))
    return ResultExamined(found.file, found.summary, told, is_result)


def fatal(found: Examination) -> Problem | None:
    """Why the file is of no use. None if it is of use, or was not looked at."""
    return next((Problem(one.message, one.hint) for one in found.findings if one.is_fatal), None)


def _recorded(finding: ResultFinding) -> ExaminationFinding:
    return ExaminationFinding(
        trouble=finding.trouble.value,
        message=finding.problem.message,
        hint=finding.problem.hint,
        is_fatal=finding.is_fatal,
    )


def base_file(examiner: Examiner) -> Path | None:
    """The base's own file, for what is trained from it whole. None if it is no single file to compare with."""
    path = Path(examiner.model)
    is_file = examiner.recipe.kind is Kind.DREAMBOOTH and path.suffix.lower() == ".safetensors" and files.is_file(path)
    return path if is_file else None


def _starting_weights(recipe: Recipe) -> Path | None:
    """The network or embedding that a run goes on from: its weights are not those of any other run's start."""
    named = recipe.get("weights" if recipe.kind is Kind.EMBEDDING else "network_weights")
    path = Path(str(named)) if named else None
    return path if path is not None and path.suffix.lower() == ".safetensors" and files.is_file(path) else None
