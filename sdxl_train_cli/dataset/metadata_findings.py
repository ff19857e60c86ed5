"""Limits of sd-scripts for pictures from a metadata file (library/train_util.py: FineTuningDataset)."""

from __future__ import annotations

from collections.abc import Iterator

from sdxl_train_cli.dataset.file_facts import Finding
from sdxl_train_cli.dataset.finding_kinds import ERROR, FindingKind
from sdxl_train_cli.dataset.folders import TrainingPictures
from sdxl_train_cli.recipe import Kind as Trained
from sdxl_train_cli.recipe import Recipe

_FOLDERS = "`sdxl-train dataset fix {file} --to NEWDIR` makes a folder of pictures and captions"
_UNCACHED = FindingKind(
    "metadata-uncached", ERROR, "{file}: Dreambooth from metadata needs cached latents, or sd-scripts fails", "",
    "--set cache_latents=true; or " + _FOLDERS,
)  # fmt: skip
_SPLIT = FindingKind(
    "metadata-split", ERROR,
    "{file}: sd-scripts can't hold back pictures from metadata, and would validate on the training pictures",
    "", "remove validation_split; or " + _FOLDERS,
)  # fmt: skip


def find(pictures: TrainingPictures, recipe: Recipe | None) -> Iterator[Finding]:
    """Yield the findings, one for each metadata file."""
    for subset in pictures.subsets:
        if subset.metadata_file is None or recipe is None:
            continue
        if recipe.kind is Trained.DREAMBOOTH and not recipe.is_on("cache_latents"):
            yield from _UNCACHED.of_files([(subset.metadata_file.file, "")])
        if recipe.number("validation_split"):
            yield from _SPLIT.of_files([(subset.metadata_file.file, "")])
