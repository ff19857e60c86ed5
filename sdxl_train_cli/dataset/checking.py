"""A whole check of a dataset: its folders, every file in them, and how they suit a recipe."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli.dataset import findings, sources, survey
from sdxl_train_cli.dataset.file_facts import Finding, Severity, Survey
from sdxl_train_cli.dataset.finding_kinds import in_a_line
from sdxl_train_cli.dataset.survey import OnProgress
from sdxl_train_cli.errors import DatasetError, Problem
from sdxl_train_cli.recipe import Recipe


@dataclass(frozen=True)
class DatasetSource:
    """What a person gives of a dataset."""

    data: Path
    regularisation: Path | None = None
    repeats: int | None = None
    trigger: str | None = None
    called: str = "give --data"
    """How hints tell to name another folder."""


@dataclass(frozen=True)
class CheckedDataset:
    """A dataset that was looked at, and what is wrong or odd with it."""

    survey: Survey
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> list[Finding]:
        """What a training must not start with."""
        return [finding for finding in self.findings if finding.severity is Severity.ERROR]

    @property
    def warnings(self) -> list[Problem]:
        """What is odd but trains, a line each."""
        odd = [in_a_line(finding) for finding in self.findings if finding.severity is Severity.WARNING]
        return [*self.survey.pictures.notes, *odd]


def check(source: DatasetSource, recipe: Recipe | None, on_progress: OnProgress | None = None) -> CheckedDataset:
    """Look at everything; DatasetError where there is no dataset to look at."""
    pictures, problems = sources.find(
        source.data, regularisation=source.regularisation, repeats=source.repeats, trigger=source.trigger,
        called=source.called,
    )  # fmt: skip
    seen = survey.survey(pictures, on_progress)
    gc.freeze()  # of 50,000 pictures, looking for rings among plain facts takes a third of what the findings take
    found = findings.ordered([*findings.of_folders(problems), *findings.of(seen, recipe)])
    return CheckedDataset(seen, tuple(found))


def require(source: DatasetSource, recipe: Recipe | None, on_progress: OnProgress | None = None) -> CheckedDataset:
    """Look at pictures and captions before a training; DatasetError has every error in a line."""
    checked = check(source, recipe, on_progress)
    require_no_error(checked)
    return checked


def require_no_error(checked: CheckedDataset) -> None:
    """DatasetError has every error in a line."""
    if checked.errors:
        raise DatasetError([in_a_line(finding) for finding in checked.errors])
