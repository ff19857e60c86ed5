"""What a survey of a dataset means for a training: problems by kind, errors first."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from sdxl_train_cli import formatting
from sdxl_train_cli.dataset import (
    cache_findings,
    caption_findings,
    fit_findings,
    folder_findings,
    metadata_findings,
    picture_findings,
)
from sdxl_train_cli.dataset.file_facts import Finding, Severity, Survey, shown
from sdxl_train_cli.dataset.finding_kinds import in_a_line
from sdxl_train_cli.dataset.folders import FolderProblem, TrainingPictures
from sdxl_train_cli.errors import Problem
from sdxl_train_cli.recipe import Recipe


def of(found: Survey, recipe: Recipe | None) -> list[Finding]:
    """Everything that is wrong or odd; without a recipe, nothing is said of sizes and steps."""
    fit = fit_findings.of(recipe, found.readable) if recipe is not None else ()
    return ordered(
        chain(
            picture_findings.of(found.seen, recipe, _root(found.pictures)),
            caption_findings.of(found.seen, recipe, found.pictures.trigger),
            metadata_findings.of(found.pictures, recipe),
            cache_findings.of(found.seen, found.beside, recipe),
            folder_findings.of(found.beside),
            fit,
        )
    )


def errors_with(recipe: Recipe, found: Survey) -> list[Problem]:
    """What keeps a recipe from training on these pictures; what is wrong with the files themselves is left out."""
    of_recipe = chain(
        metadata_findings.of(found.pictures, recipe),
        cache_findings.of(found.seen, found.beside, recipe),
        fit_findings.of(recipe, found.readable),
    )
    return [in_a_line(each) for each in of_recipe if each.severity is Severity.ERROR]


def of_folders(problems: Iterable[FolderProblem]) -> list[Finding]:
    """The same for folders that can't be trained on."""
    return [_of_folder(problem) for problem in problems]


def _of_folder(problem: FolderProblem) -> Finding:
    """In one line, whatever signs the folders' names have."""
    named: dict[str, Path | str | int] = {"words": shown(problem.words)}
    if problem.place is not None:
        named["place"] = problem.place
    wording = "{words}" if problem.place is None else "{place} {words}"
    return Finding(problem.kind, Severity.ERROR, (problem.file,), wording, named, shown(problem.hint))


def ordered(found: Iterable[Finding]) -> list[Finding]:
    """Errors first, else as they come."""
    return sorted(found, key=lambda finding: finding.severity is not Severity.ERROR)


def _root(pictures: TrainingPictures) -> str:
    """The folder that was given, as a shell takes it; of several numbered ones it is their parent."""
    folders = [subset.place for subset in pictures.subsets if not subset.is_reg]
    if not folders:
        return "DIR"
    return formatting.shell_word(folders[0] if len(folders) == 1 else folders[0].parent)
