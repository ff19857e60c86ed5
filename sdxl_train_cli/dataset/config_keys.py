"""The keys that a dataset config may have, and all that is wrong with those of one file.

From library/config_util.py of sd-scripts v0.10.1 and v0.11.1: ConfigSanitizer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from sdxl_train_cli import formatting, untrusted_files
from sdxl_train_cli.dataset.config_lines import GENERAL, ConfigLines, Place
from sdxl_train_cli.errors import Problem

Table = Mapping[str, object]

_WHOLE, _NUMBER, _TEXT, _SWITCH, _PAIR = "a whole number", "a number", "text", "true or false", "two numbers"
OF_RUN = {
    "batch_size": _WHOLE, "bucket_no_upscale": _SWITCH, "bucket_reso_steps": _WHOLE, "enable_bucket": _SWITCH,
    "max_bucket_reso": _WHOLE, "min_bucket_reso": _WHOLE, "resolution": "a size or two", "resize_interpolation": _TEXT,
    "skip_image_resolution": "a size or two", "validation_seed": _WHOLE, "validation_split": _NUMBER,
}  # fmt: skip
"""Keys of a dataset that are options of the run here. Datasets may differ in each."""
INHERITED = {
    "caption_dropout_every_n_epochs": _WHOLE, "caption_dropout_rate": _NUMBER, "caption_separator": _TEXT,
    "caption_suffix": _TEXT, "caption_tag_dropout_rate": _NUMBER, "color_aug": _SWITCH, "enable_wildcard": _SWITCH,
    "face_crop_aug_range": _PAIR, "flip_aug": _SWITCH, "keep_tokens": _WHOLE, "keep_tokens_separator": _TEXT,
    "random_crop": _SWITCH, "secondary_separator": _TEXT, "shuffle_caption": _SWITCH, "token_warmup_min": _WHOLE,
    "token_warmup_step": _NUMBER,
}  # fmt: skip
"""Keys of a subset that a dataset or [general] may set for all. Each is also an option of the run."""
CACHE_INFO = "cache_info"
_LAYOUT = {"caption_extension": _TEXT, "caption_prefix": _TEXT, "class_tokens": _TEXT, "num_repeats": _WHOLE,
           CACHE_INFO: _SWITCH}  # fmt: skip
"""Inherited keys that describe how a folder is laid out and looked through."""
MASKS = "conditioning_data_dir"
_OWN = {"alpha_mask": _SWITCH, "image_dir": _TEXT, "is_reg": _SWITCH, "metadata_file": _TEXT, MASKS: _TEXT}
"""Keys that only a subset may have."""
_APART = {
    # a key, and those that sd-scripts takes no subset with beside it
    "metadata_file": frozenset({"caption_extension", "class_tokens", "is_reg", CACHE_INFO, MASKS}),
    MASKS: frozenset({"class_tokens", "is_reg", "alpha_mask"}),
}
_OTHERS = Path(__file__).with_name("other_config_keys.toml")
_SUFFIX = re.compile(r"\.[^./\\\0]+")
_SUBSETS = "subsets"


def problems(table: Table, lines: ConfigLines) -> Iterator[Problem]:
    """Everything that sd-scripts would refuse, and a little more."""
    yield from _unknown(table, ("general", "datasets"), lines.shown)
    datasets = table.get("datasets")
    if not isinstance(datasets, list) or not datasets:
        yield Problem("has no [[datasets]]", "each has [[datasets.subsets]] with an image_dir", lines.shown)
        return
    yield from _wrong(table.get("general", {}), {**OF_RUN, **INHERITED, **_LAYOUT}, lines, GENERAL)
    for number, dataset in enumerate(datasets, 1):
        yield from _wrong(dataset, {**OF_RUN, **INHERITED, **_LAYOUT, _SUBSETS: None}, lines, (number, 0))
        subsets = dataset.get(_SUBSETS) if isinstance(dataset, dict) else None
        if not isinstance(subsets, list) or not subsets:
            yield Problem("has no [[datasets.subsets]]", "each names an image_dir", lines.where((number, 0)))
            continue
        for place, subset in enumerate(subsets, 1):
            yield from _wrong_subset(subset, lines, (number, place))


def _wrong_subset(subset: object, lines: ConfigLines, place: Place) -> Iterator[Problem]:
    known = {**INHERITED, **_LAYOUT, **_OWN}
    yield from _wrong(subset, known, lines, place)
    if not isinstance(subset, dict):
        return
    for key, others in _APART.items():
        for other in sorted(others & subset.keys()) if key in subset else ():
            yield Problem(f"'{other}' does not go with {key}", f"take one of the two out of {lines.shown}",
                          lines.where(place, other))  # fmt: skip
    if not subset.keys() & {"image_dir", "metadata_file"}:
        yield Problem("names no image_dir", None, lines.where(place))


def _wrong(table: object, known: Mapping[str, str | None], lines: ConfigLines, place: Place) -> Iterator[Problem]:
    if not isinstance(table, dict):
        yield Problem("is not a table of keys", None, lines.where(place))
        return
    for key, value in table.items():
        wanted, where = known.get(key), lines.where(place, key)
        if key not in known:
            yield from _unknown({key: value}, known.keys(), where)
        elif wanted is not None and not _is(value, wanted):
            yield Problem(f"{key} is {wanted}, not {value!r}", None, where)
        elif key == "caption_extension" and not str(value).startswith("."):
            yield Problem(f"caption_extension begins with a dot: '.{value}'", None, where)
        elif key == "caption_extension" and not _SUFFIX.fullmatch(str(value)):
            yield Problem("caption_extension is not a file suffix", "write it as in '.txt'", where)


def _unknown(table: Table, known: Iterable[str], where: str) -> Iterator[Problem]:
    names = sorted(known)
    for key in (key for key in table if key not in names):
        if key in OF_RUN:
            yield Problem(f"'{key}' is a key of a dataset, and not of its subset",
                          f"write it below a [[datasets]] that has this subset alone: {key} = {table[key]!r}",
                          where)  # fmt: skip
        elif key in _OWN:
            yield Problem(f"'{key}' is a key of a subset", "write it below [[datasets.subsets]]", where)
        else:
            hint = of_other_trainers().get(key) or formatting.suggestion(key, names, 1)
            yield Problem(f"'{key}' is not a known key", hint, where)


@cache
def of_other_trainers() -> Mapping[str, str]:
    """By a key of another trainer, what to write in a config of sd-scripts."""
    rows = untrusted_files.toml_table(_OTHERS.read_text(encoding="utf-8"), _OTHERS.name)["key"]
    return {row["name"]: row["hint"] for row in rows} if isinstance(rows, list) else {}


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
