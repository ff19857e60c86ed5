"""Complete check of a dataset: its folders, every file in them, and how they suit a recipe."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli.dataset import cache_stamps, findings, sources, stale_caches, survey
from sdxl_train_cli.dataset.file_facts import Finding, Severity, Survey
from sdxl_train_cli.dataset.finding_kinds import summarize
from sdxl_train_cli.dataset.survey import OnProgress
from sdxl_train_cli.errors import DatasetError, Problem
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.sdscripts.cache_makers import CacheMakers


@dataclass(frozen=True)
class DatasetSource:
    """The dataset as the user specified it."""

    data: Path
    regularisation: Path | None = None
    repeats: int | None = None
    trigger: str | None = None
    called: str = "give --data"
    """Start of hints that suggest another folder."""


@dataclass(frozen=True)
class CheckedDataset:
    """A surveyed dataset and its findings."""

    survey: Survey
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> list[Finding]:
        """Findings that must stop a training."""
        return [finding for finding in self.findings if finding.severity is Severity.ERROR]

    @property
    def warnings(self) -> list[Problem]:
        """Findings that are odd but harmless, one line each."""
        odd = [summarize(finding) for finding in self.findings if finding.severity is Severity.WARNING]
        return [*self.survey.pictures.notes, *odd]


def check(
    source: DatasetSource,
    recipe: Recipe | None,
    on_progress: OnProgress | None = None,
    makers: CacheMakers | None = None,
) -> CheckedDataset:
    """Check everything. DatasetError if there is no dataset at all. `makers` are what the run would cache with."""
    pictures, problems = sources.find(
        source.data, regularisation=source.regularisation, repeats=source.repeats, trigger=source.trigger,
        called=source.called,
    )  # fmt: skip
    if recipe is not None:
        pictures = sources.as_trained(pictures, recipe)
    seen = survey.survey(pictures, on_progress)
    gc.freeze()  # with 50,000 pictures, garbage collection takes a third of the findings' time
    command = "" if recipe is None else stale_caches.command(source.data, source.regularisation, recipe, pictures)
    found = [*findings.from_folder_problems(problems), *findings.find(seen, recipe, command)]
    if recipe is not None and makers is not None:
        found += cache_stamps.find(cache_stamps.folders_of(pictures), recipe, makers, command, seen.seen)
    return CheckedDataset(seen, tuple(findings.errors_first(found)))


def require(
    source: DatasetSource,
    recipe: Recipe | None,
    on_progress: OnProgress | None = None,
    makers: CacheMakers | None = None,
) -> CheckedDataset:
    """Check pictures and captions before a training. DatasetError lists every error."""
    checked = check(source, recipe, on_progress, makers)
    require_no_error(checked)
    return checked


def require_no_error(checked: CheckedDataset) -> None:
    """DatasetError has every error in a line."""
    if checked.errors:
        raise DatasetError([summarize(finding) for finding in checked.errors])
