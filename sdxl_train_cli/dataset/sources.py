"""Dataset sources: a folder, a dataset config, a metadata file, or a Hugging Face imagefolder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sdxl_train_cli import files, formatting, handed_file, layout
from sdxl_train_cli.dataset import config_file, dataset_parts, finding_kinds, folders, metadata_file, picture_names
from sdxl_train_cli.dataset.config_file import ConfigFile
from sdxl_train_cli.dataset.dataset_parts import OwnOption
from sdxl_train_cli.dataset.folders import FolderProblem, Subset, TrainingPictures
from sdxl_train_cli.dataset.metadata_file import MetadataFile
from sdxl_train_cli.errors import DatasetError, Problem
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.recipes.presets import Override

_SPLIT = "train"
"""The imagefolder split to train on if there are several."""
_UNREAD = "metadata.parquet"
_EMPTY = Subset(Path(), 1, None, "", None, is_reg=False, pictures=0, captions=0)
"""A folder without options of its own."""


def find(
    data: Path, *, regularisation: Path | None, repeats: int | None, trigger: str | None, called: str = "give --data"
) -> tuple[TrainingPictures, list[FolderProblem]]:
    """Find what can be trained on, and what can't. DatasetError if the layout is not recognised.

    `called` begins the hints that suggest another folder.
    """
    data = layout.expand(data)
    config = _config(data)
    given = _given(data, config)
    if given is None:
        _require_folder(data, called)
        return folders.find(data, regularisation=regularisation, repeats=repeats, trigger=trigger, called=called)
    if regularisation is not None:
        hint = "set is_reg in it" if config else "`sdxl-train dataset fix` makes folders of both"
        raise DatasetError(f"--reg is given, but {data} already says what to train on", hint)
    if repeats is not None and config:
        raise DatasetError(f"--repeats is given, but {data} sets num_repeats itself", "omit --repeats")
    found, problems = folders.inspect(_with_flags(subset, repeats, trigger) for subset in given)
    missing, notes = _compared(found)
    return TrainingPictures(tuple(found), tuple(notes), trigger), [*problems, *missing]


def scan(data: Path, *, regularisation: Path | None, repeats: int | None, trigger: str | None) -> TrainingPictures:
    """Find what can be trained on. DatasetError lists every problem."""
    pictures, problems = find(data, regularisation=regularisation, repeats=repeats, trigger=trigger)
    if problems:
        raise DatasetError([found.problem for found in problems])
    return pictures


def find_subsets(data: Path) -> list[Subset]:
    """The subsets to train on, before inspection. DatasetError if the layout is not recognised."""
    data = layout.expand(data)
    given = _given(data, _config(data))
    return folders.find_subsets(data) if given is None else given


def overrides(data: Path) -> tuple[Override, ...]:
    """Options that a dataset config sets for the run. Empty for other sources. Raises DatasetError."""
    config = _config(layout.expand(data))
    return config.overrides if config else ()


def as_trained(pictures: TrainingPictures, recipe: Recipe) -> TrainingPictures:
    """The pictures in the datasets that a recipe makes of them: once for each of its sizes, by what was typed."""
    sized = _at_sizes(pictures.subsets, recipe.sizes)
    return replace(pictures, subsets=tuple(_as_typed(subset, recipe) for subset in sized))


def _as_typed(subset: Subset, recipe: Recipe) -> Subset:
    """The subset without those options of its dataset that were typed for the whole run."""
    kept = tuple(option for option in subset.dataset_options if option.counts_in(recipe))
    return subset if kept == subset.dataset_options else replace(subset, dataset_options=kept)


def recipes(data: Path, recipe: Recipe) -> list[Recipe]:
    """The recipe as each dataset of a source trains with it. Raises DatasetError."""
    config = _config(layout.expand(data))
    subsets = (_EMPTY,) if config is None else config.subsets
    return dataset_parts.recipes(recipe, [subset.part for subset in _at_sizes(subsets, recipe.sizes)])


def _at_sizes(subsets: Sequence[Subset], sides: Sequence[int]) -> list[Subset]:
    """The subsets, each in a dataset of its own for each of several sizes."""
    return [_at_size(subset, dataset_parts.own_sizes(side)) for side in sides for subset in subsets] or list(subsets)


def _at_size(subset: Subset, own: tuple[OwnOption, ...]) -> Subset:
    names = {option.name for option in own}
    others = tuple(option for option in subset.dataset_options if option.name not in names)
    return replace(subset, dataset_options=(*others, *own))


def _config(data: Path) -> ConfigFile | None:
    other = handed_file.other_kind(data, "dataset metadata", "a folder of pictures")
    if other is not None:
        raise DatasetError(other)
    return config_file.find(data) if files.is_file(data) else None


def _given(data: Path, config: ConfigFile | None) -> list[Subset] | None:
    """The subsets of a source other than a plain folder."""
    if config is not None:
        return list(config.subsets)
    if files.is_folder(data):
        listed = _imagefolder(data)
        return None if listed is None else [_of_metadata_file(listed, listed.file.parent)]
    if not files.is_file(data) or data.suffix.lower() not in metadata_file.SUFFIXES:
        return None
    return [_of_metadata_file(metadata_file.read(data, data.parent), data.parent)]


def _require_folder(data: Path, called: str) -> None:
    """DatasetError for a file that is no list of pictures, with what to make of it."""
    toml = data.with_suffix(".toml").name
    form = '[[datasets]], below it [[datasets.subsets]] with image_dir = "..."'
    hints = {
        **dict.fromkeys((".yaml", ".yml"), f"write the same keys as TOML, and {called} {toml}: {form}"),
        **dict.fromkeys((".zip", ".rar", ".7z", ".tar", ".gz"), f"unpack it, and {called} the folder"),
        **dict.fromkeys(picture_names.PICTURE_SUFFIXES, f"{called} its folder: {formatting.shell_word(data.parent)}"),
    }
    hint = hints.get(data.suffix.lower())
    if files.is_file(data) and hint is not None:
        kinds = "a file, not a folder, and no dataset config in TOML or JSON"
        raise DatasetError(f"{data} is {kinds}", hint)


def _imagefolder(data: Path) -> MetadataFile | None:
    """The imagefolder's metadata. None if there is none, or if the pictures have caption files."""
    for folder in (data, data / _SPLIT):
        file = next((folder / name for name in metadata_file.NAMES if (folder / name).is_file()), None)
        if file is not None and not _has_captions(folder):
            return metadata_file.read(file, folder)
        if file is None and (folder / _UNREAD).is_file() and not _has_captions(folder):
            raise DatasetError(f"{folder / _UNREAD} can't be read here", "save it as metadata.csv or metadata.jsonl")
    return None


def _has_captions(folder: Path) -> bool:
    with os.scandir(folder) as found:
        return any(entry.name.lower().endswith(folders.CAPTION_SUFFIXES) for entry in found)


def _of_metadata_file(listed: MetadataFile, folder: Path) -> Subset:
    return Subset(folder, 1, None, "", None, is_reg=False, pictures=0, captions=0, metadata_file=listed)


def _with_flags(subset: Subset, repeats: int | None, trigger: str | None) -> Subset:
    named = subset if subset.class_tokens or subset.is_reg else replace(subset, class_tokens=trigger)
    return named if repeats is None else replace(named, num_repeats=repeats)


def _compared(subsets: Sequence[Subset]) -> tuple[list[FolderProblem], list[Problem]]:
    """Problems with pictures that metadata names but that are missing, and notes on pictures it does not name."""
    problems, notes = list[FolderProblem](), list[Problem]()
    for subset in subsets:
        if subset.metadata_file is None:
            continue
        file, listed = subset.metadata_file.file, subset.metadata_file.captions
        missing = [path for path in listed if not files.is_file(path)]
        gone = set(missing)
        others = [path for path in listed if path not in gone and not picture_names.is_picture(path)]
        from_where = (
            f"relative paths count from {subset.image_dir}: move the file beside its pictures,"
            " or name image_dir and metadata_file in a dataset config"
        )
        for found, message, hint in (
            (missing, "names pictures that do not exist", from_where),
            (others, "names files that sd-scripts does not read as pictures", "convert them to png or jpg"),
        ):
            if found:
                problems.append(
                    FolderProblem("metadata", file, file, f"{message}: {finding_kinds.name_some(found)}", hint)
                )
        unnamed = [path for path in folders.in_folder(subset.image_dir) if path not in listed]
        if unnamed:
            words = (
                f"{finding_kinds.name_some(unnamed)} in {subset.image_dir} are not listed in {file}, so "
                "they are not trained on"
            )
            notes.append(Problem(words))
    return problems, notes
