"""Masks in a folder of their own (`conditioning_data_dir`), as sd-scripts wants them with masked_loss.

From ControlNetDataset of v0.10.1 and v0.11.1: one mask for each picture, of the same name but for the suffix, and of
the picture's size where there are buckets. Its red channel says how much of each place counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from sdxl_train_cli.dataset import folders, picture_names
from sdxl_train_cli.dataset.file_facts import Finding, SurveyedPicture
from sdxl_train_cli.dataset.finding_kinds import ERROR, WARNING, FindingKind, Hit
from sdxl_train_cli.dataset.folders import Subset, TrainingPictures
from sdxl_train_cli.recipe import Recipe

_ALPHA = "or put all masks into the pictures' own alpha channels, with alpha_mask = true instead"
_NO_FOLDER = FindingKind("mask-folder", ERROR, "{file} is not a folder of masks", "", "correct conditioning_data_dir")
_MISSING = FindingKind(
    "mask-missing", ERROR, "{file} has no mask in {folder}", "{count} pictures have no mask in {folder}",
    "each needs one of its name there, white where the picture counts: sd-scripts stops without; " + _ALPHA,
)  # fmt: skip
_EXTRA = FindingKind(
    "mask-extra", ERROR, "{file} is the mask of no picture: sd-scripts v0.10.1 stops at it",
    "{count} masks belong to no picture: sd-scripts v0.10.1 stops at them", "move it to another folder",
)  # fmt: skip
_UNREADABLE = FindingKind(
    "mask-unreadable", ERROR, "{file} is not a readable mask", "{count} masks are not readable",
    "save it again as a png of grey or RGB",
)  # fmt: skip
_SIZE = FindingKind(
    "mask-size", ERROR, "{file} is {detail}: with buckets, sd-scripts stops at it",
    "{count} masks have another size than their pictures: with buckets, sd-scripts stops at them",
    "make each mask as large as its picture; " + _ALPHA,
)  # fmt: skip
_OFF = FindingKind(
    "mask-off", ERROR, "{file}: masks are read with masked_loss alone", "{count} folders of masks are read with"
    " masked_loss alone", ways=("masked_loss=true",),
)  # fmt: skip
_CROP = FindingKind(
    "mask-crop", ERROR, "{file}: sd-scripts takes no masks with random_crop",
    "sd-scripts takes no masks with random_crop", ways=("random_crop=false",),
)  # fmt: skip
_SPLIT = FindingKind(
    "mask-split", ERROR,
    "{file}: sd-scripts can't hold back pictures with masks, and would validate on the training pictures",
    "sd-scripts can't hold back pictures with masks, and would validate on the training pictures",
    ways=("validation_split=null",),
)  # fmt: skip
_UNCAPTIONED = FindingKind(
    "mask-uncaptioned", WARNING, "{file} has no caption, and beside masks nothing stands in for it",
    "{count} pictures have no caption, and beside masks neither class_tokens nor --trigger stands in for it",
    "write captions: `sdxl-train dataset caption` makes some",
)  # fmt: skip
_IDLE = FindingKind(
    "mask-none", WARNING, "", "masked_loss does nothing: the pictures have no masks", ways=("masked_loss=false",)
)


def find(pictures: TrainingPictures, seen: Sequence[SurveyedPicture], recipe: Recipe | None) -> Iterator[Finding]:
    """Yield the findings."""
    masked = [subset for subset in pictures.subsets if subset.masks is not None]
    for subset in masked:
        yield from _files(subset, [each for each in seen if each.subset.part == subset.part], recipe)
    if recipe is not None:
        yield from of_recipe(pictures, recipe)


def of_recipe(pictures: TrainingPictures, recipe: Recipe) -> Iterator[Finding]:
    """Yield what of a recipe does not go with the masks that there are."""
    hits: list[Hit] = [(subset.masks, "") for subset in pictures.subsets if subset.masks is not None]
    if not hits and recipe.is_on("masked_loss") and not recipe.is_on("alpha_mask"):
        yield from _IDLE.of_dataset()
    if hits and not recipe.is_on("masked_loss"):
        yield from _OFF.of_files(hits)
    if hits and recipe.is_on("random_crop"):
        yield from _CROP.of_files(hits)
    if any(_holds_back(subset, recipe) for subset in pictures.subsets if subset.masks is not None):
        yield from _SPLIT.of_files(hits)


def _holds_back(subset: Subset, recipe: Recipe) -> bool:
    own = subset.part.own("validation_split")
    return bool(recipe.number("validation_split") if own is None else own)


def _files(subset: Subset, seen: Sequence[SurveyedPicture], recipe: Recipe | None) -> Iterator[Finding]:
    folder = subset.masks
    if folder is None:
        return
    try:
        there = [folder / name for name in folders.list_entries(folder) if picture_names.is_picture_name(name)]
    except OSError:
        yield from _NO_FOLDER.of_files([(folder, "")])
        return
    own = [each for each in seen if each.facts.path.parent == subset.image_dir]
    masks = {mask.stem: mask for mask in reversed(there)}
    names = {each.facts.path.stem for each in own}
    yield from _MISSING.of_files([(each.facts.path, "") for each in own if each.facts.path.stem not in masks],
                                 folder=folder)  # fmt: skip
    yield from _EXTRA.of_files([(mask, "") for mask in there if mask.stem not in names])
    sizes = {name: folders.size(mask) for name, mask in masks.items() if name in names}
    yield from _UNREADABLE.of_files([(masks[name], "") for name, size in sizes.items() if size is None])
    if recipe is None or recipe.is_on("enable_bucket"):
        yield from _SIZE.of_files(_of_other_size(own, masks, sizes))
    yield from _UNCAPTIONED.of_files([(each.facts.path, "") for each in own if each.caption is None])


def _of_other_size(
    own: Sequence[SurveyedPicture], masks: dict[str, Path], sizes: dict[str, tuple[int, int] | None]
) -> list[Hit]:
    found = []
    for facts in (each.facts for each in own if each.facts.error is None):
        size = sizes.get(facts.path.stem)
        if size is not None and size != (facts.width, facts.height):
            words = f"{size[0]}x{size[1]}, and its picture {facts.width}x{facts.height}"
            found.append((masks[facts.path.stem], words))
    return found
