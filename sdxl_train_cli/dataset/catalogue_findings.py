"""What sd-scripts can't do with pictures that a metadata file names (library/train_util.py: FineTuningDataset)."""

from __future__ import annotations

from collections.abc import Iterator

from sdxl_train_cli.dataset.facts import Finding
from sdxl_train_cli.dataset.folders import Pictures
from sdxl_train_cli.dataset.kinds import ERROR, Kind
from sdxl_train_cli.recipe import Kind as Trained
from sdxl_train_cli.recipe import Recipe

_FOLDERS = "`sdxl-train dataset fix {file} --to NEWDIR` makes a folder of pictures and captions"
_UNCACHED = Kind(
    "metadata-uncached", ERROR, "{file}: Dreambooth from metadata needs cached latents, or sd-scripts fails", "",
    "--set cache_latents=true; or " + _FOLDERS,
)  # fmt: skip
_SPLIT = Kind(
    "metadata-split", ERROR, "{file}: sd-scripts holds nothing back of metadata, and would validate on what it trains",
    "", "leave validation_split away; or " + _FOLDERS,
)  # fmt: skip


def of(pictures: Pictures, recipe: Recipe | None) -> Iterator[Finding]:
    """Yield the findings, one for each metadata file."""
    for subset in pictures.subsets:
        if subset.catalogue is None or recipe is None:
            continue
        if recipe.kind is Trained.DREAMBOOTH and not recipe.is_on("cache_latents"):
            yield from _UNCACHED.found([(subset.catalogue.file, "")])
        if recipe.number("validation_split"):
            yield from _SPLIT.found([(subset.catalogue.file, "")])
