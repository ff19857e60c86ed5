"""How the file was trained, for its card: from the run's record, else from the file's own metadata."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sdxl_train_cli import files, untrusted_files
from sdxl_train_cli.lora_files import about
from sdxl_train_cli.records import comparison, validation
from sdxl_train_cli.records.record import Examination
from sdxl_train_cli.sdscripts import results
from sdxl_train_cli.sharing.private import Cleaner
from sdxl_train_cli.sharing.subject import Subject

TABLE = Path(__file__).with_name("training_table.toml")
_SAYS_NOTHING = {"", "None", "False", "false", "null", "{}"}
_SAID = {"true": "yes", "True": "yes"}
_SHORT_COMMIT = 12
_LARGEST_JSON = 4 << 20
_MOST_TAGS = 20
_LONGEST_VALUE = 400
"""Characters. A longer one is no setting that a person reads."""
_COMMIT = re.compile(r"[0-9a-f]{7,40}")


@dataclass(frozen=True)
class DataFacts:
    """What of the pictures can be told without showing any."""

    pictures: int | None
    repeats: tuple[int, ...]
    """Each folder's, without its name."""
    resolution: str | None
    tags: tuple[tuple[str, int], ...]
    """The commonest of the captions, and in how many pictures they are. Empty unless asked for."""


@dataclass(frozen=True)
class TrainingFacts:
    """What a card tells of a training. What isn't known is absent."""

    settings: tuple[tuple[str, str], ...]
    """Label and value."""
    data: DataFacts
    versions: tuple[tuple[str, str], ...]
    """Program and version."""
    examination: Examination | None
    held_back: str | None
    """What the loss on held-back pictures says, where some were."""


def gather(subject: Subject, cleaner: Cleaner, *, with_tags: bool) -> TrainingFacts:
    """Collect them, without what tells of a person or a machine."""
    return TrainingFacts(
        settings=tuple(_settings(subject, cleaner)),
        data=_data(subject, cleaner, with_tags=with_tags),
        versions=tuple(_versions(subject)),
        examination=_examination(subject),
        held_back=_held_back(subject),
    )


def _settings(subject: Subject, cleaner: Cleaner) -> Iterator[tuple[str, str]]:
    recorded = {} if subject.entry is None else subject.entry.record.settings
    trained = steps(subject)
    if trained is not None:
        yield "steps", str(trained)
    for row in _rows():
        setting = recorded.get(row.get("option", ""))
        value = comparison.text(setting.shown) if setting is not None and setting.value is not None else None
        if value is None and (subject.entry is None or "option" not in row):
            value = _of_metadata(subject, row.get("metadata", ""))
        if value is None or value in {*_SAYS_NOTHING, *row.get("without", [])}:
            continue
        clean, is_size = cleaner.text(f"the setting {row['label']}", value), row["label"] == "resolution"
        if clean and len(clean) <= _LONGEST_VALUE:
            yield row["label"], _SAID.get(clean, re.sub(r"(?<=\d),(?=\d)", "x", clean) if is_size else clean)


def _of_metadata(subject: Subject, key: str) -> str | None:
    """A value of the file's metadata. Those of ss_datasets that are the same in all of them count too."""
    metadata = subject.model.metadata
    if key in metadata:
        return metadata[key]
    name = key.removeprefix("ss_")
    found = {json.dumps(each[name]) for each in _datasets(metadata) if name in each}
    return found.pop().strip("[]").replace(" ", "") if len(found) == 1 else None


def _data(subject: Subject, cleaner: Cleaner, *, with_tags: bool) -> DataFacts:
    metadata = subject.model.metadata
    folders = subject.entry.record.dataset.folders if subject.entry and subject.entry.record.dataset else ()
    counted = metadata.get("ss_num_train_images", "")
    dirs = _json(metadata.get("ss_dataset_dirs", ""))
    told = [each for each in dirs.values() if isinstance(each, dict)] if isinstance(dirs, dict) else []
    repeats = [each.repeats for each in folders if not each.is_reg] or [each.get("n_repeats", 0) for each in told]
    pictures = sum(each.pictures for each in folders if not each.is_reg) or None
    if pictures is None:
        pictures = sum(each.get("img_count", 0) for each in told if isinstance(each.get("img_count"), int)) or None
    if pictures is None and re.fullmatch(r"\d{1,9}", counted):
        pictures = int(counted)
    return DataFacts(
        pictures=pictures,
        repeats=tuple(sorted({each for each in repeats if isinstance(each, int) and each})),
        resolution=_of_metadata(subject, "ss_resolution"),
        tags=_tags(metadata, cleaner) if with_tags else (),
    )


def _tags(metadata: Mapping[str, str], cleaner: Cleaner) -> tuple[tuple[str, int], ...]:
    clean = ((cleaner.text("the tags", tag), count) for tag, count in sorted(about.tags(metadata), key=_commonest))
    return tuple((tag, count) for tag, count in clean if tag)[:_MOST_TAGS]


def _commonest(pair: tuple[str, int]) -> tuple[int, str]:
    return -pair[1], pair[0]


def _versions(subject: Subject) -> Iterator[tuple[str, str]]:
    installed = None if subject.entry is None else subject.entry.record.environment
    commit = subject.model.metadata.get("ss_sd_scripts_commit_hash", "")
    if installed is not None and (installed.ref or installed.commit):
        short = (installed.commit or "")[:_SHORT_COMMIT]
        ref = installed.ref if installed.ref and re.fullmatch(r"v\d[\w.-]*", installed.ref) else None
        yield "sd-scripts", f"{ref} ({short})" if ref and short else ref or short
    elif _COMMIT.fullmatch(commit):
        yield "sd-scripts", commit[:_SHORT_COMMIT]
    if installed is not None and "torch" in installed.packages:
        yield "torch", installed.packages["torch"]
    if subject.entry is not None:
        yield "sdxl-train", subject.entry.record.sdxl_train


def _examination(subject: Subject) -> Examination | None:
    """What the run's end found in this very file."""
    outcome = None if subject.entry is None else subject.entry.outcome
    return next((each for each in outcome.examined if each.file == subject.path.name), None) if outcome else None


def _held_back(subject: Subject) -> str | None:
    curve = None if subject.entry is None else validation.load(subject.entry.folder)
    return None if curve is None else curve.words


def steps(subject: Subject) -> int | None:
    """How many steps the file was trained for."""
    if subject.saved is not None and subject.saved.step is not None:
        return subject.saved.step
    if subject.model.steps is not None:
        return subject.model.steps
    outcome = None if subject.entry is None else subject.entry.outcome
    is_final = subject.saved is not None and subject.saved.moment == results.FINAL
    return outcome.steps if outcome is not None and is_final else None


def _datasets(metadata: Mapping[str, str]) -> list[dict[str, Any]]:
    found = _json(metadata.get("ss_datasets", ""))
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _json(text: str) -> object:
    try:
        return files.parse_json(text) if text and len(text) < _LARGEST_JSON else None
    except ValueError:
        return None


@cache
def _rows() -> tuple[dict[str, Any], ...]:
    found: Any = untrusted_files.toml_table(TABLE.read_text(encoding="utf-8"), TABLE.name)["row"]
    return tuple(found)
