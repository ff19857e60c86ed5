"""Files that describe the pictures to the trainer: dataset config, metadata files, and a fingerprint."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.dataset import caption, folders
from sdxl_train_cli.dataset.folders import Subset, TrainingPictures
from sdxl_train_cli.errors import DatasetError
from sdxl_train_cli.recipe import Value

METADATA = r"metadata-\d+\.json"
"""Name pattern of the metadata files."""


def config(pictures: TrainingPictures, folder: Path) -> dict[str, object]:
    """The `--dataset_config` for sd-scripts with every subset explicit. Buckets and batch size are options of the run.

    The files of `metadata` must be written to `folder` as well.
    """
    subsets = [
        _subset_config(subset)
        if subset.metadata_file is None
        else _listed_config(subset, _metadata_file(folder, number))
        for number, subset in enumerate(pictures.subsets, 1)
    ]
    return {"datasets": [{"subsets": subsets}]}


def metadata(pictures: TrainingPictures, folder: Path) -> dict[Path, dict[str, object]]:
    """The metadata files of `config`, with absolute paths. A picture without a caption gets the trigger.

    Includes each picture's size: without it, sd-scripts relies on caches whose names begin alike.
    """
    return {
        _metadata_file(folder, number): {
            str(path): {"caption": caption or subset.class_tokens or "", **_image_size(path)}
            for path, caption in subset.metadata_file.captions.items()
        }
        for number, subset in enumerate(pictures.subsets, 1)
        if subset.metadata_file is not None
    }


def _metadata_file(folder: Path, number: int) -> Path:
    return folder / f"metadata-{number}.json"


def _image_size(path: Path) -> dict[str, object]:
    size = folders.size(path)
    return {} if size is None else {"image_size": list(size)}


def _listed_config(subset: Subset, file: Path) -> dict[str, object]:
    prefix = {} if subset.caption_prefix is None else {"caption_prefix": subset.caption_prefix}
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
    pictures = list(filter(folders.is_picture_name, there))
    captions = folders.captions_of(pictures, subset.caption_extension, there)
    for name in pictures:
        read = files.read_bytes(subset.image_dir / captions[name], caption.LARGEST) if name in captions else b""
        yield root + name, os.stat(subset.image_dir / name).st_size, read.decode("utf-8", "replace")  # noqa: PTH116 - fast


def _subset_config(subset: Subset) -> dict[str, object]:
    entries: dict[str, object] = {
        "image_dir": str(subset.image_dir),
        "num_repeats": subset.num_repeats,
        "caption_extension": subset.caption_extension,
        "is_reg": subset.is_reg,
    }
    optional = {"class_tokens": subset.class_tokens, "caption_prefix": subset.caption_prefix}
    given = {key: text for key, text in optional.items() if text is not None}
    return {**entries, **given, **_plain(subset.options)}
