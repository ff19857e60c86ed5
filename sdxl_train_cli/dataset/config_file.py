"""Read sd-scripts' `--dataset_config`, TOML or JSON: its folders, and the options it sets for the run.

As in sd-scripts (library/config_util.py), the most specific value wins: subset, dataset, [general]. Three things differ
from sd-scripts: relative paths are resolved against the file's folder, typed flags override the file, and [[datasets]]
that agree in all options are merged. They must agree in size and batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sdxl_train_cli import files, untrusted_files
from sdxl_train_cli.dataset import config_keys, config_lines, metadata_file, picture_names
from sdxl_train_cli.dataset.config_keys import CACHE_INFO, INHERITED, MASKS, OF_RUN, Table
from sdxl_train_cli.dataset.config_lines import ConfigLines
from sdxl_train_cli.dataset.folders import Subset
from sdxl_train_cli.errors import DatasetError, Problem, RecipeError
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Value
from sdxl_train_cli.recipes.presets import Override

_OPTION = {"batch_size": "train_batch_size"}
"""Keys whose command-line option has another name."""
_BY_DATASET: Mapping[str, Value | None] = {"validation_split": 0.0, "validation_seed": None}
"""Keys in which datasets may differ, and what absent means. Each is written for its own dataset then."""


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
    differing = _differing(datasets, lines.shown)
    subsets = [
        _subset({**dataset, **subset}, _of_dataset(dataset, differing), at)
        for number, dataset in enumerate(datasets, 1)
        for place, subset in enumerate(_tables(dataset.get("subsets")), 1)
        for at in [_At(lines, (number, place))]
    ]
    _require_one_kind(subsets, lines.shown)
    origin = Origin(lines.shown)
    overrides = [*_of_run(datasets[0], differing, origin), *_held_back(subsets, origin), *_of_subsets(subsets, origin)]
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


def _subset(given: Table, of_dataset: Sequence[tuple[str, object]], at: _At) -> Subset:
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
        dataset_options=tuple((key, _value(value)) for key, value in of_dataset),
        masks=_path(at.file, str(given[MASKS])) if MASKS in given else None,
        origin=at.lines.origin(at.place, "metadata_file" if "metadata_file" in given else "image_dir"),
    )


def _path(file: Path, written: str) -> Path:
    return Path(os.path.normpath(file.parent / Path(written).expanduser()))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _value(value: object) -> Value:
    if isinstance(value, list):
        return tuple(each for each in value if isinstance(each, int | float))
    return value if isinstance(value, bool | int | float | str) else str(value)


def _require_one_kind(subsets: Sequence[Subset], shown: str) -> None:
    with_file = [subset for subset in subsets if subset.metadata_file is not None]
    if with_file and len(with_file) < len(subsets):
        raise DatasetError(Problem("mixes metadata files and folders of captions", "use one of the two", shown))


def _differing(datasets: Sequence[Table], shown: str) -> list[str]:
    """Keys of `_BY_DATASET` in which the datasets differ. DatasetError if they differ in another."""
    differing = [key for key in OF_RUN if any(dataset.get(key) != datasets[0].get(key) for dataset in datasets)]
    wrong = [key for key in differing if key not in _BY_DATASET]
    if wrong:
        values = ", ".join(str(dataset.get(wrong[0])) for dataset in datasets)
        words = f"the datasets differ in {wrong[0]}: {values}"
        raise DatasetError(
            Problem(words, "a run has one size and one batch size: put each dataset in its own file", shown)
        )
    return differing


def _of_dataset(dataset: Table, differing: Sequence[str]) -> list[tuple[str, object]]:
    found = ((key, dataset.get(key, _BY_DATASET[key])) for key in differing)
    return [(key, value) for key, value in found if value is not None]


def _of_run(dataset: Table, differing: Sequence[str], origin: Origin) -> Iterator[Override]:
    """Options that all datasets set alike for the run."""
    for key in OF_RUN:
        value = None if key in differing else dataset.get(key)
        if isinstance(value, list):
            yield Override(key, ",".join(map(str, value)), origin)
        elif value is not None:
            yield Override(_OPTION.get(key, key), _value(value), origin)


def _held_back(subsets: Sequence[Subset], origin: Origin) -> Iterator[Override]:
    """Where each dataset has a share of its own for validation, the share of all pictures, for the run's rules."""
    if not any("validation_split" in dict(subset.dataset_options) for subset in subsets):
        return
    counts = [(subset, _count(subset.image_dir)) for subset in subsets if not subset.is_reg]
    held = sum(count * _share(dict(subset.dataset_options).get("validation_split")) for subset, count in counts)
    yield Override("validation_split", round(held / max(1, sum(count for _, count in counts)), 4), origin)


def _share(value: Value | None) -> float:
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
