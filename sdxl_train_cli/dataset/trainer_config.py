"""Files that describe the pictures to the trainer: dataset config, metadata files, and a fingerprint."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.dataset import caption, folders, picture_names
from sdxl_train_cli.dataset.dataset_parts import DatasetPart
from sdxl_train_cli.dataset.folders import Subset, TrainingPictures
from sdxl_train_cli.errors import DatasetError
from sdxl_train_cli.recipe import Value

METADATA = r"metadata-\d+\.json"
"""Name pattern of the metadata files."""
_KEYS = {"train_batch_size": "batch_size"}
"""Options whose key in a dataset config has another name."""
_SIZES = {"resolution", "skip_image_resolution"}


def config(pictures: TrainingPictures, folder: Path) -> dict[str, object]:
    """The `--dataset_config` for sd-scripts with every subset explicit.

    What all datasets have alike is an option of the run. Subsets that differ in sizes, buckets, batch size or
    validation, or in whether they have masks, get datasets of their own.

    The files of `metadata` must be written to `folder` as well.
    """
    datasets: dict[DatasetPart, list[dict[str, object]]] = {}
    for number, subset in enumerate(pictures.subsets, 1):
        file = _metadata_file(folder, number)
        is_listed = _is_listed(subset, pictures)
        has_captions = pictures.captions is not None
        own = _listed_config(subset, file, has_captions=has_captions) if is_listed else _subset_config(subset)
        datasets.setdefault(subset.part, []).append(own)
    return {"datasets": [{**_keys(part), "subsets": own} for part, own in datasets.items()]}


def _keys(part: DatasetPart) -> dict[str, object]:
    """The dataset's own options as keys of a dataset config, which takes a size as whole numbers."""
    return {
        _KEYS.get(each.name, each.name): _whole_numbers(each.value) if each.name in _SIZES else each.value
        for each in part.options
    }


def _whole_numbers(size: Value) -> object:
    sides = [int(side) for side in str(size).split(",")]
    return sides if len(sides) > 1 else sides[0]


def metadata(pictures: TrainingPictures, folder: Path) -> dict[Path, dict[str, object]]:
    """The metadata files of `config`, with absolute paths. A picture without a caption gets the trigger.

    Includes each picture's size: without it, sd-scripts relies on caches whose names begin alike.
    """
    return {
        _metadata_file(folder, number): {
            str(path): {**entry, **_image_size(path)} for path, entry in _entries(subset, pictures.captions)
        }
        for number, subset in enumerate(pictures.subsets, 1)
        if _is_listed(subset, pictures)
    }


def _is_listed(subset: Subset, pictures: TrainingPictures) -> bool:
    return subset.metadata_file is not None or pictures.captions is not None


def _entries(subset: Subset, captions: Mapping[Path, str] | None) -> Iterator[tuple[Path, dict[str, object]]]:
    """What metadata says of each picture. sd-scripts counts `tags` for the trained file's metadata, not `caption`."""
    if captions is not None:
        # Without `caption`, every release takes the tags alone for the caption.
        for path in filter(captions.__contains__, subset.files):
            yield path, {"tags": captions[path]}
    elif subset.metadata_file is not None:
        for path, text in subset.metadata_file.captions.items():
            yield path, {"caption": text or subset.class_tokens or ""}


def _metadata_file(folder: Path, number: int) -> Path:
    return folder / f"metadata-{number}.json"


def _image_size(path: Path) -> dict[str, object]:
    size = folders.size(path)
    return {} if size is None else {"image_size": list(size)}


def _listed_config(subset: Subset, file: Path, *, has_captions: bool) -> dict[str, object]:
    """`has_captions` says that the prefix is in them already."""
    lacks_prefix = subset.caption_prefix is not None and not has_captions
    prefix = {"caption_prefix": subset.caption_prefix} if lacks_prefix else {}
    return {"metadata_file": str(file), "num_repeats": subset.num_repeats, **prefix, **_plain(subset.options)}


def _plain(options: Iterable[tuple[str, Value]]) -> dict[str, object]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options}


def fingerprint(pictures: TrainingPictures) -> str:
    """SHA-256 over the pictures' names, sizes and captions: equal if a run would train on the same files.

    Reads no picture. The folders' location does not count, the names of numbered ones do. Raises DatasetError.
    """
    try:
        entries = sorted(entry for subset in pictures.subsets for entry in _fingerprint_entries(subset))
    except OSError as error:
        raise DatasetError(f"{error.filename} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise DatasetError(
            f"a caption has changed since it was checked: {error}", "run the same command again"
        ) from error
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()


def _fingerprint_entries(subset: Subset) -> Iterator[tuple[str, int, str]]:
    if subset.metadata_file is not None:
        for file, text in subset.metadata_file.captions.items():
            yield f"data/{file.name}", file.stat().st_size, text
        return
    folder = f"{subset.image_dir.name}/" if folders.NUMBERED.fullmatch(subset.image_dir.name) else ""
    root = f"{'reg' if subset.is_reg else 'data'}/{folder}"
    there = folders.list_entries(subset.image_dir)
    pictures = list(filter(picture_names.is_picture_name, there))
    captions = folders.captions_of(pictures, subset.caption_extension, there)
    for name in pictures:
        read = files.read_bytes(subset.image_dir / captions[name], caption.LARGEST) if name in captions else b""
        yield root + name, os.stat(subset.image_dir / name).st_size, read.decode("utf-8", "replace")  # noqa: PTH116 - fast
    for name, entry in folders.list_entries(subset.masks).items() if subset.masks is not None else ():
        yield f"mask/{folder}{name}", entry.stat().st_size, ""


def _subset_config(subset: Subset) -> dict[str, object]:
    entries: dict[str, object] = {
        "image_dir": str(subset.image_dir),
        "num_repeats": subset.num_repeats,
        "caption_extension": subset.caption_extension,
    }
    optional = {"caption_prefix": subset.caption_prefix}
    if subset.masks is None:
        entries["is_reg"] = subset.is_reg
        optional["class_tokens"] = subset.class_tokens
    else:  # sd-scripts takes neither beside masks
        entries["conditioning_data_dir"] = str(subset.masks)
    given = {key: text for key, text in optional.items() if text is not None}
    return {**entries, **given, **_plain(subset.options)}
