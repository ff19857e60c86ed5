"""Turn a survey into findings for a training, errors first."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from sdxl_train_cli import formatting
from sdxl_train_cli.dataset import (
    cache_findings,
    cache_fit,
    caption_findings,
    fit_findings,
    folder_findings,
    mask_findings,
    metadata_findings,
    picture_findings,
    stale_caches,
)
from sdxl_train_cli.dataset.file_facts import Finding, Severity, Survey, shown
from sdxl_train_cli.dataset.finding_kinds import summarize
from sdxl_train_cli.dataset.folders import FolderProblem, TrainingPictures
from sdxl_train_cli.errors import Problem
from sdxl_train_cli.recipe import Recipe


def find(found: Survey, recipe: Recipe | None, cache_command: str) -> list[Finding]:
    """Every problem and oddity. Without a recipe, sizes and steps are not judged. `cache_command` removes caches."""
    fit = fit_findings.find(recipe, found.readable) if recipe is not None else ()
    return errors_first(
        chain(
            picture_findings.find(found.distinct, recipe, _roots(found.pictures)),
            caption_findings.find(found.distinct, recipe, found.pictures.trigger),
            metadata_findings.find(found.pictures, recipe),
            mask_findings.find(found.pictures, found.seen, recipe),
            cache_findings.find(found.distinct, found.beside, recipe, cache_command),
            cache_fit.find(found.seen, found.beside, recipe, cache_command),
            folder_findings.find(found.beside),
            fit,
        )
    )


DECIDING = (
    *stale_caches.DECIDING, "skip_image_resolution", "train_batch_size",
    "gradient_accumulation_steps", "max_train_steps", "max_train_epochs",
    "validation_split", "validation_seed", "masked_loss", "random_crop",
    "initial_epoch", "initial_step",
)  # fmt: skip
"""The options that decide what `errors_with` finds."""


def errors_with(recipe: Recipe, found: Survey, cache_command: str) -> list[Problem]:
    """What keeps a recipe from training on these pictures; what is wrong with the files themselves is left out."""
    of_recipe = chain(
        metadata_findings.find(found.pictures, recipe),
        mask_findings.of_recipe(found.pictures, recipe),
        cache_findings.find(found.distinct, found.beside, recipe, cache_command),
        cache_fit.find(found.seen, found.beside, recipe, cache_command),
        fit_findings.find(recipe, found.readable),
    )
    return [summarize(each) for each in of_recipe if each.severity is Severity.ERROR]


def from_folder_problems(problems: Iterable[FolderProblem]) -> list[Finding]:
    """Findings for folders that can't be trained on."""
    return [_from_folder_problem(problem) for problem in problems]


def _from_folder_problem(problem: FolderProblem) -> Finding:
    """Describe the problem in one line, with control characters in the folder's name escaped."""
    named: dict[str, Path | str | int] = {"words": shown(problem.words)}
    if problem.place is not None:
        named["place"] = problem.place
    if problem.where is not None:
        named["where"] = str(problem.where)
    wording = "{words}" if problem.place is None else "{place} {words}"
    wording = wording if problem.where is None else "{where}: " + wording
    return Finding(problem.kind, Severity.ERROR, (problem.file,), wording, named, shown(problem.hint))


def errors_first(found: Iterable[Finding]) -> list[Finding]:
    """Errors first, otherwise in the given order."""
    return sorted(found, key=lambda finding: finding.severity is not Severity.ERROR)


def _roots(pictures: TrainingPictures) -> dict[bool, str]:
    """The folders for training and for regularisation, by whether they are the latter, quoted for a shell.

    For several numbered folders, their parent.
    """
    found: dict[bool, str] = {}
    for is_reg in (False, True):
        folders = [subset.place for subset in pictures.subsets if subset.is_reg is is_reg]
        if folders:
            found[is_reg] = formatting.shell_word(folders[0] if len(folders) == 1 else folders[0].parent)
    return found
