"""Metadata files: one file that lists many pictures with their captions.

Three formats are read: sd-scripts' JSON (an object keyed by path), its JSON lines (`image_path`), and metadata.csv or
metadata.jsonl of a Hugging Face imagefolder (`file_name`). Captions are under `caption` or `text`; `tags` are appended,
as in sd-scripts (library/train_util.py: FineTuningDataset).
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import files, untrusted_files
from sdxl_train_cli.dataset import picture_names
from sdxl_train_cli.errors import DatasetError, Problem, RecipeError
from sdxl_train_cli.origin import Origin

SUFFIXES = (".json", ".jsonl", ".csv")
NAMES = ("metadata.csv", "metadata.jsonl")
"""Names of the file in a Hugging Face imagefolder."""
LARGEST_BYTES = 256 << 20
"""Enough for a million pictures with captions of 250 characters."""
_PATHS = ("image_path", "file_name")
_TEXTS = ("caption", "text")
_MOST_TOLD = 10
_FORM = 'write {"cat.png": {"caption": "a cat"}}'

Row = tuple[Origin, str, Mapping[str, object]]
"""The place in the file, the picture's name as written, and its fields."""


@dataclass(frozen=True, eq=False)
class MetadataFile:
    """Contents of a metadata file. Compared by identity."""

    file: Path
    captions: Mapping[Path, str]
    """Captions by absolute picture path. Empty if a picture has none."""


def read(file: Path, folder: Path) -> MetadataFile:
    """Read a metadata file. Relative paths are resolved against `folder`. DatasetError lists every invalid line."""
    captions: dict[Path, str] = {}
    problems: list[Problem] = []
    named = _Named()
    for where, name, record in _rows(file):
        path, caption = named.picture(Path(os.path.normpath(folder / name))), _caption(record)
        if not name or not _can_be(name):
            problems.append(Problem("names no picture", f"under {' or '.join(_PATHS)}", where))
        elif path in captions:
            problems.append(Problem(f"names {name} a second time", None, where))
        elif caption is None:
            problems.append(Problem("has a caption that is not text", None, where))
        else:
            captions[path] = caption
    if problems:
        more = len(problems) - _MOST_TOLD
        rest = [Problem(f"{more} more like these", None, str(file))] if more > 0 else []
        raise DatasetError([*problems[:_MOST_TOLD], *rest])
    if not captions:
        raise DatasetError(f"{file} names no picture", _FORM)
    return MetadataFile(file, captions)


class _Named:
    """Finds pictures that metadata names without a suffix, as sd-scripts' own tools write it.

    sd-scripts v0.11.1 looks for them itself, v0.10.1 does not (FineTuningDataset).
    """

    def __init__(self) -> None:
        self._there: dict[Path, dict[str, Path]] = {}

    def picture(self, path: Path) -> Path:
        """The picture of this name; the path as it is where it has a suffix, or where there is none."""
        if picture_names.is_picture(path):
            return path
        if path.parent not in self._there:
            self._there[path.parent] = _by_stem(path.parent)
        return self._there[path.parent].get(path.name, path)


def _by_stem(folder: Path) -> dict[str, Path]:
    """The folder's pictures by name without suffix; of several the first, as sd-scripts takes it."""
    try:
        pictures = sorted(filter(picture_names.is_picture_name, os.listdir(folder)), reverse=True)  # noqa: PTH208 - names
    except (OSError, ValueError):
        return {}
    return {Path(name).stem: folder / name for name in pictures}


def _can_be(name: str) -> bool:
    """Whether a file system could hold this name. It may be a caption in the wrong column."""
    try:
        os.fsencode(name)
    except UnicodeError:
        return False
    return "\0" not in name


def _rows(file: Path) -> Iterator[Row]:
    shown = str(file)
    if files.exists(file) and not files.is_file(file):  # a pipe would block
        raise DatasetError(Problem("is not a plain file", _FORM, shown))
    try:
        content = untrusted_files.text_of(file, shown, LARGEST_BYTES)
        if file.suffix.lower() == ".json":
            yield from _of_object(untrusted_files.json_object(content, shown), shown)
        elif file.suffix.lower() == ".jsonl":
            yield from _of_lines(content, shown)
        else:
            yield from _of_table(content, shown)
    except RecipeError as error:
        raise DatasetError(error.problems) from error


def _of_object(found: Mapping[str, object], shown: str) -> Iterator[Row]:
    for name, record in found.items():
        if not isinstance(record, dict):
            raise DatasetError(Problem(f"'{name}' is not an object with a caption", _FORM, shown))
        yield Origin(f"{shown}: {name}"), name, record


def _of_lines(content: str, shown: str) -> Iterator[Row]:
    # JSON strings may contain characters that str.splitlines treats as line ends.
    for number, line in enumerate(content.split("\n"), 1):
        if line.strip():
            where = Origin(shown, number)
            record = untrusted_files.json_object(line, str(where))
            yield where, _name(record), record


def _of_table(content: str, shown: str) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(content, newline=""))
    try:
        columns = reader.fieldnames or ()
        if not set(columns) & set(_PATHS) or not set(columns) & {*_TEXTS, "tags"}:
            there = ", ".join(columns) or "none"
            raise DatasetError(Problem(f"has the columns {there}", "it needs file_name and text", shown))
        for record in reader:
            plain: dict[str, object] = {str(key): found for key, found in record.items() if key is not None}
            yield Origin(shown, reader.line_num), _name(plain), plain
    except csv.Error as error:
        raise DatasetError(Problem(f"is not CSV: {error}", None, Origin(shown, reader.line_num))) from error


def _name(record: Mapping[str, object]) -> str:
    found = next((record[key] for key in _PATHS if record.get(key)), "")
    return found if isinstance(found, str) else ""


def _caption(record: Mapping[str, object]) -> str | None:
    """The caption, or None if it is not text."""
    told = next((record[key] for key in _TEXTS if record.get(key)), "")
    tags = record.get("tags") or ""
    if isinstance(tags, list):
        tags = ", ".join(map(str, tags))
    if not isinstance(told, str) or not isinstance(tags, str):
        return None
    return ", ".join(filter(None, (told.strip(), tags.strip())))
