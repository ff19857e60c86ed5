"""Read sd-scripts' `--dataset_config`, TOML or JSON: its folders, and the options it sets for the run.

As in sd-scripts (library/config_util.py), the most specific value wins: subset, dataset, [general]. Three things differ
from sd-scripts: relative paths are resolved against the file's folder, typed flags override the file, and [[datasets]]
that agree in all options are merged.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sdxl_train_cli import files, untrusted_files
from sdxl_train_cli.dataset import config_keys, config_lines, metadata_file, picture_names
from sdxl_train_cli.dataset.config_keys import CACHE_INFO, INHERITED, MASKS, OF_RUN, Table
from sdxl_train_cli.dataset.config_lines import ConfigLines
from sdxl_train_cli.dataset.dataset_parts import OwnOption
from sdxl_train_cli.dataset.folders import Subset
from sdxl_train_cli.errors import DatasetError, Problem, RecipeError
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Value
from sdxl_train_cli.recipes.presets import Override

_OPTION = {"batch_size": "train_batch_size"}
"""Keys whose command-line option has another name."""
_ABSENT: Mapping[str, Value] = {"validation_split": 0.0}
"""What an absent key means where other datasets have it; the others are left to the run."""


@dataclass(frozen=True)
class ConfigFile:
    """Contents of a dataset config."""

    subsets: tuple[Subset, ...]
    """Subsets before inspection. `caption_extension` is empty if not given."""
    overrides: tuple[Override, ...]
    """Options for the run. A switch that only some subsets set counts as on, so that rules see it."""


def find(path: Path) -> ConfigFile | None:
    """Read the file if it is a dataset config, judging by suffix and, for JSON, by keys. Raises as `read`."""
    if path.suffix.lower() == ".toml":
        return read(path)
    if path.suffix.lower() != ".json":
        return None
    shown = str(path)
    try:
        table = untrusted_files.json_object(untrusted_files.text_of(path, shown, metadata_file.LARGEST_BYTES), shown)
    except RecipeError:
        return None  # reading it as metadata reports the same
    return _read(table, ConfigLines(shown)) if isinstance(table.get("datasets"), list) else None


def read(path: Path) -> ConfigFile:
    """Read a dataset config. DatasetError lists every problem with its place in the file."""
    shown = str(path)
    parse = untrusted_files.toml_table if path.suffix.lower() == ".toml" else untrusted_files.json_object
    if files.exists(path) and not files.is_file(path):
        raise DatasetError(Problem("is not a plain file", "name a dataset config in TOML or JSON", shown))
    try:
        text = untrusted_files.text_of(path, shown)
        table = parse(text, shown)
    except RecipeError as error:
        raise DatasetError(error.problems) from error
    return _read(table, config_lines.find(text, shown) if path.suffix.lower() == ".toml" else ConfigLines(shown))


def _read(table: Table, lines: ConfigLines) -> ConfigFile:
    problems = list(config_keys.problems(table, lines))
    if problems:
        raise DatasetError(problems)
    general = _table(table.get("general"))
    datasets = [{**general, **dataset} for dataset in _tables(table.get("datasets"))]
    differing = [key for key in OF_RUN if any(dataset.get(key) != datasets[0].get(key) for dataset in datasets)]
    subsets = [
        _subset({**dataset, **subset}, _own(dataset, differing, lines.shown), at)
        for number, dataset in enumerate(datasets, 1)
        for place, subset in enumerate(_tables(dataset.get("subsets")), 1)
        for at in [_At(lines, (number, place))]
    ]
    _require_one_kind(subsets, lines.shown)
    origin = Origin(lines.shown)
    overrides = [*_of_run(datasets, differing, origin), *_held_back(subsets, origin), *_of_subsets(subsets, origin)]
    if any({**dataset, **subset}.get(CACHE_INFO) for dataset in datasets for subset in _tables(dataset.get("subsets"))):
        overrides.append(Override(CACHE_INFO, value=True, origin=origin))
    names = {option: key for key, option in _OPTION.items()}
    placed = (replace(each, origin=lines.first(names.get(each.option, each.option))) for each in overrides)
    return ConfigFile(tuple(subsets), tuple(placed))


@dataclass(frozen=True)
class _At:
    """A subset's place in the file."""

    lines: ConfigLines
    place: config_lines.Place

    @property
    def file(self) -> Path:
        return Path(self.lines.shown)


def _table(found: object) -> dict[str, object]:
    return found if isinstance(found, dict) else {}


def _tables(found: object) -> list[dict[str, object]]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _subset(given: Table, own: tuple[OwnOption, ...], at: _At) -> Subset:
    folder = _path(at.file, str(given["image_dir"])) if "image_dir" in given else at.file.parent
    listed = None
    if "metadata_file" in given:
        file = _path(at.file, str(given["metadata_file"]))
        listed = metadata_file.read(file, folder if "image_dir" in given else file.parent)
    kept = {key: _value(given[key]) for key in (*INHERITED, "alpha_mask") if key in given}
    repeats = given.get("num_repeats", 1)
    return Subset(
        image_dir=folder,
        num_repeats=repeats if isinstance(repeats, int) else 1,
        class_tokens=None if MASKS in given else _text(given.get("class_tokens")),
        caption_extension=_text(given.get("caption_extension")) or "",
        caption_prefix=_text(given.get("caption_prefix")),
        is_reg=bool(given.get("is_reg")),
        pictures=0,
        captions=0,
        metadata_file=listed,
        options=tuple(sorted(kept.items())),
        dataset_options=own,
        masks=_path(at.file, str(given[MASKS])) if MASKS in given else None,
        origin=at.lines.origin(at.place, "metadata_file" if "metadata_file" in given else "image_dir"),
    )


def _path(file: Path, written: str) -> Path:
    return Path(os.path.normpath(file.parent / Path(written).expanduser()))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _option(value: object) -> Value:
    """A value of a dataset as the option takes it: two sides of a size in one text."""
    return ",".join(map(str, value)) if isinstance(value, list) else _value(value)


def _value(value: object) -> Value:
    if isinstance(value, list):
        return tuple(each for each in value if isinstance(each, int | float))
    return value if isinstance(value, bool | int | float | str) else str(value)


def _require_one_kind(subsets: Sequence[Subset], shown: str) -> None:
    with_file = [subset for subset in subsets if subset.metadata_file is not None]
    if with_file and len(with_file) < len(subsets):
        raise DatasetError(Problem("mixes metadata files and folders of captions", "use one of the two", shown))


def _own(dataset: Table, differing: Sequence[str], shown: str) -> tuple[OwnOption, ...]:
    """What a dataset sets for itself, of the keys in which the datasets differ."""
    found = ((key, dataset.get(key, _ABSENT.get(key))) for key in differing)
    return tuple(OwnOption(_OPTION.get(key, key), _option(value), shown) for key, value in found if value is not None)


def _of_run(datasets: Sequence[Table], differing: Sequence[str], origin: Origin) -> Iterator[Override]:
    """What all datasets set for the run. Where they differ, it is told of the one with the largest batches."""
    largest = max(datasets, key=_batch_pixels)
    for key in OF_RUN:
        is_of_all = all(key in dataset for dataset in datasets) and key != "validation_split"
        if key in largest and (key not in differing or is_of_all):
            yield Override(_OPTION.get(key, key), _option(largest[key]), origin)


def _batch_pixels(dataset: Table) -> int:
    """Pixels of a full batch, as far as the dataset says; none where it is for validation alone."""
    size, batch = dataset.get("resolution", 1), dataset.get("batch_size", 1)
    sides = size if isinstance(size, list) else [size, size]
    counts = [each for each in (*sides, batch) if isinstance(each, int)]
    return 0 if _share(dataset.get("validation_split")) >= 1 else math.prod(counts)


def _held_back(subsets: Sequence[Subset], origin: Origin) -> Iterator[Override]:
    """Where each dataset has a share of its own for validation, the share of all pictures, for the run's rules."""
    if all(subset.part.own("validation_split") is None for subset in subsets):
        return
    counts = [(subset, _count(subset.image_dir)) for subset in subsets if not subset.is_reg]
    held = sum(count * _share(subset.part.own("validation_split")) for subset, count in counts)
    yield Override("validation_split", round(held / max(1, sum(count for _, count in counts)), 4), origin)


def _share(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _count(folder: Path) -> int:
    try:
        with os.scandir(folder) as found:
            return sum(picture_names.is_picture_name(entry.name) for entry in found)
    except (OSError, ValueError):  # told by who lists it for the run
        return 0


def _of_subsets(subsets: Sequence[Subset], origin: Origin) -> Iterator[Override]:
    """Options of subsets. A switch is on for the run's rules if any subset has it on."""
    for key in (*INHERITED, "alpha_mask"):
        found = [dict(subset.options)[key] for subset in subsets if key in dict(subset.options)]
        if found:
            yield Override(key, next((value for value in found if value), found[0]), origin)
    if any(subset.masks is not None for subset in subsets):
        yield Override("masked_loss", value=True, origin=origin)  # sd-scripts reads masks with it alone
