"""Read sd-scripts' `--dataset_config`, TOML or JSON: its folders, and the options it sets for the run.

As in sd-scripts (library/config_util.py), the most specific value wins: subset, dataset, [general]. Three things differ
from sd-scripts: relative paths are resolved against the file's folder, typed flags override the file, and all
[[datasets]] are merged, so they must agree in size and batch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import files, formatting, untrusted_files
from sdxl_train_cli.dataset import metadata_file
from sdxl_train_cli.dataset.folders import Subset
from sdxl_train_cli.errors import DatasetError, Problem, RecipeError
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Value
from sdxl_train_cli.recipes.presets import Override

Table = Mapping[str, object]

_WHOLE, _NUMBER, _TEXT, _SWITCH, _PAIR = "a whole number", "a number", "text", "true or false", "two numbers"
_RUN = {
    "batch_size": _WHOLE, "bucket_no_upscale": _SWITCH, "bucket_reso_steps": _WHOLE, "enable_bucket": _SWITCH,
    "max_bucket_reso": _WHOLE, "min_bucket_reso": _WHOLE, "resolution": "a size or two", "resize_interpolation": _TEXT,
    "validation_seed": _WHOLE, "validation_split": _NUMBER,
}  # fmt: skip
"""Keys of a dataset that are options of the run here."""
_INHERITED = {
    "caption_dropout_every_n_epochs": _WHOLE, "caption_dropout_rate": _NUMBER, "caption_separator": _TEXT,
    "caption_suffix": _TEXT, "caption_tag_dropout_rate": _NUMBER, "color_aug": _SWITCH, "enable_wildcard": _SWITCH,
    "face_crop_aug_range": _PAIR, "flip_aug": _SWITCH, "keep_tokens": _WHOLE, "keep_tokens_separator": _TEXT,
    "random_crop": _SWITCH, "secondary_separator": _TEXT, "shuffle_caption": _SWITCH, "token_warmup_min": _WHOLE,
    "token_warmup_step": _NUMBER,
}  # fmt: skip
"""Keys of a subset that a dataset or [general] may set for all. Each is also an option of the run."""
_LAYOUT = {"caption_extension": _TEXT, "caption_prefix": _TEXT, "class_tokens": _TEXT, "num_repeats": _WHOLE}
"""Inherited keys that describe how a folder is laid out."""
_OWN = {"alpha_mask": _SWITCH, "image_dir": _TEXT, "is_reg": _SWITCH, "metadata_file": _TEXT}
"""Keys that only a subset may have."""
_OF_FOLDERS = {"caption_extension", "class_tokens", "is_reg"}
"""Keys that make no sense with a metadata file."""
_SUFFIX = re.compile(r"\.[^./\\\0]+")
_OPTION = {"batch_size": "train_batch_size"}
"""Keys whose command-line option has another name."""


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
    return _read(table, path) if isinstance(table.get("datasets"), list) else None


def read(path: Path) -> ConfigFile:
    """Read a dataset config. DatasetError lists every problem with its place in the file."""
    shown = str(path)
    parse = untrusted_files.toml_table if path.suffix.lower() == ".toml" else untrusted_files.json_object
    if files.exists(path) and not files.is_file(path):
        raise DatasetError(Problem("is not a plain file", "name a dataset config in TOML or JSON", shown))
    try:
        table = parse(untrusted_files.text_of(path, shown), shown)
    except RecipeError as error:
        raise DatasetError(error.problems) from error
    return _read(table, path)


def _read(table: Table, path: Path) -> ConfigFile:
    shown = str(path)
    problems = list(_problems(table, shown))
    if problems:
        raise DatasetError(problems)
    general = _table(table.get("general"))
    datasets = _tables(table.get("datasets"))
    levels = [(general, dataset, subset) for dataset in datasets for subset in _tables(dataset.get("subsets"))]
    subsets = [_subset({**general, **dataset, **subset}, path) for general, dataset, subset in levels]
    _require_one_kind(subsets, shown)
    return ConfigFile(tuple(subsets), (*_of_run(general, datasets, shown), *_of_subsets(subsets, shown)))


def _problems(table: Table, shown: str) -> Iterator[Problem]:
    """Everything that sd-scripts would refuse, and a little more."""
    yield from _unknown(table, {"general", "datasets"}, shown)
    datasets = table.get("datasets")
    if not isinstance(datasets, list) or not datasets:
        yield Problem("has no [[datasets]]", "each has [[datasets.subsets]] with an image_dir", shown)
        return
    yield from _wrong(table.get("general", {}), {**_RUN, **_INHERITED, **_LAYOUT}, f"{shown}: general")
    for number, dataset in enumerate(datasets, 1):
        where = f"{shown}: dataset {number}"
        yield from _wrong(dataset, {**_RUN, **_INHERITED, **_LAYOUT, "subsets": None}, where)
        subsets = dataset.get("subsets") if isinstance(dataset, dict) else None
        if not isinstance(subsets, list) or not subsets:
            yield Problem("has no [[datasets.subsets]]", "each names an image_dir", where)
            continue
        for place, subset in enumerate(subsets, 1):
            yield from _wrong_subset(subset, f"{where}, subset {place}")


def _wrong_subset(subset: object, where: str) -> Iterator[Problem]:
    known = {**_INHERITED, **_LAYOUT, **_OWN}
    if isinstance(subset, dict) and "metadata_file" in subset:
        known = {key: wanted for key, wanted in known.items() if key not in _OF_FOLDERS}
    yield from _wrong(subset, known, where)
    if isinstance(subset, dict) and not subset.keys() & {"image_dir", "metadata_file"}:
        yield Problem("names no image_dir", None, where)


def _wrong(table: object, known: Mapping[str, str | None], where: str) -> Iterator[Problem]:
    if not isinstance(table, dict):
        yield Problem("is not a table of keys", None, where)
        return
    yield from _unknown(table, known.keys(), where)
    for key, value in table.items():
        wanted = known.get(key)
        if wanted is not None and not _is(value, wanted):
            yield Problem(f"{key} is {wanted}, not {value!r}", None, where)
        elif key == "caption_extension" and not str(value).startswith("."):
            yield Problem(f"caption_extension begins with a dot: '.{value}'", None, where)
        elif key == "caption_extension" and not _SUFFIX.fullmatch(str(value)):
            yield Problem("caption_extension is not a file suffix", "write it as in '.txt'", where)


def _unknown(table: Table, known: Iterable[str], where: str) -> Iterator[Problem]:
    names = sorted(known)
    for key in (key for key in table if key not in names):
        yield Problem(f"'{key}' is not a known key", formatting.suggestion(key, names, 1), where)


def _is(value: object, wanted: str) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    number = whole or isinstance(value, float)
    if wanted == _SWITCH:
        return isinstance(value, bool)
    if wanted == _TEXT:
        return isinstance(value, str)
    if wanted == _WHOLE:
        return whole
    if wanted == _NUMBER:
        return number
    pair = isinstance(value, list) and len(value) == 2 and all(isinstance(each, int | float) for each in value)  # noqa: PLR2004 - a pair
    return pair or (whole and wanted != _PAIR)


def _table(found: object) -> dict[str, object]:
    return found if isinstance(found, dict) else {}


def _tables(found: object) -> list[dict[str, object]]:
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _subset(given: Table, path: Path) -> Subset:
    folder = _path(path, str(given["image_dir"])) if "image_dir" in given else path.parent
    listed = None
    if "metadata_file" in given:
        file = _path(path, str(given["metadata_file"]))
        listed = metadata_file.read(file, folder if "image_dir" in given else file.parent)
    kept = {key: _value(given[key]) for key in (*_INHERITED, "alpha_mask") if key in given}
    repeats = given.get("num_repeats", 1)
    return Subset(
        image_dir=folder,
        num_repeats=repeats if isinstance(repeats, int) else 1,
        class_tokens=_text(given.get("class_tokens")),
        caption_extension=_text(given.get("caption_extension")) or "",
        caption_prefix=_text(given.get("caption_prefix")),
        is_reg=bool(given.get("is_reg")),
        pictures=0,
        captions=0,
        metadata_file=listed,
        options=tuple(sorted(kept.items())),
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


def _of_run(general: Table, datasets: Sequence[Table], shown: str) -> Iterator[Override]:
    """Options that the datasets set for the run. All datasets are merged, so they must agree."""
    for key in _RUN:
        found = [{**general, **dataset}.get(key) for dataset in datasets]
        if any(value != found[0] for value in found):
            words = f"the datasets differ in {key}: {', '.join(map(str, found))}"
            raise DatasetError(
                Problem(words, "a run has one size and one batch size: put each dataset in its own file", shown)
            )
        value = found[0]
        if isinstance(value, list):
            yield Override(key, ",".join(map(str, value)), Origin(shown))
        elif value is not None:
            yield Override(_OPTION.get(key, key), _value(value), Origin(shown))


def _of_subsets(subsets: Sequence[Subset], shown: str) -> Iterator[Override]:
    """Options of subsets. A switch is on for the run's rules if any subset has it on."""
    for key in (*_INHERITED, "alpha_mask"):
        found = [dict(subset.options)[key] for subset in subsets if key in dict(subset.options)]
        if found:
            yield Override(key, next((value for value in found if value), found[0]), Origin(shown))
