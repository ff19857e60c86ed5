"""Read the settings files that a command names, where they lie beside it: --config_file, --dataset_config."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sdxl_train_cli import files, formatting, untrusted_files
from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.importers import script_variables, toml_config, values
from sdxl_train_cli.importers.foreign_settings import ForeignKey, ForeignSettings, became, ignored, shown, unknown
from sdxl_train_cli.recipe import Value

_CONFIG, _DATASET, _PROMPTS = "config_file", "dataset_config", "sample_prompts"
_LAUNCHERS = "accelerate "
"""Before the launcher's own options: its --config_file holds no settings of a training."""
_FROM_DATASET = {"batch_size": "train_batch_size"}
"""Keys of a dataset config whose option has another name."""
_OF_PICTURES = frozenset({"image_dir", "metadata_file", "class_tokens", "num_repeats", "is_reg", "caption_extension",
                          "alpha_mask", "conditioning_data_dir", "custom_attributes", "subsets"})  # fmt: skip
_ELSEWHERE = "belongs to the pictures, which are read again"
_DIFFER = "the datasets differ in it, and a preset has one value"


@dataclass(frozen=True)
class _Absent:
    """Why a named file is not read."""

    reason: str


def followed(reading: ForeignSettings, folder: Path, shown_file: str) -> ForeignSettings:
    """The settings with those of the files that they name, over which their own count."""
    before, own = list[ForeignKey](), list[ForeignKey]()
    warnings, read = list[Problem](), list[str]()
    for entry in reading.entries:
        option = entry.key.rpartition("--")[2].replace("-", "_")
        is_trainers = option in {_CONFIG, _DATASET, _PROMPTS} and not entry.key.startswith(_LAUNCHERS)
        name = str(entry.value or entry.shown) if is_trainers else ""
        if not name:
            own.append(entry)
        elif option != _CONFIG:
            own.append(_beside(entry, option, folder, name, before))
        elif isinstance(found := _settings(folder, name, shown_file), Problem):
            warnings.append(found)
            own.append(unknown(entry.key, name, found.message))
        else:
            before += found[1]
            read.append(found[0].name)
            own.append(ignored(entry.key, name, f"read: {found[0].name} beside it"))
    return replace(
        reading, entries=(*before, *own), format=" with ".join((reading.format, *read)),
        warnings=(*reading.warnings, *warnings),
    )  # fmt: skip


def _beside(entry: ForeignKey, option: str, folder: Path, name: str, before: list[ForeignKey]) -> ForeignKey:
    """A dataset config or prompts: read, or named for the run, if they lie beside the file."""
    found = find(folder, name)
    if isinstance(found, _Absent):
        return entry
    if option == _PROMPTS:
        return ignored(entry.key, name, f"is beside it: --set {formatting.shell_word(f'sample_prompts={found}')}")
    before += _dataset(found)
    return replace(
        ignored(entry.key, name, f"is beside it: --data {formatting.shell_word(str(found))}"), shown=shown(name)
    )


def find(folder: Path, name: str) -> Path | _Absent:
    """The file that a name means, in the folder of the file that names it or below. Nothing else is ever opened."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in {"", "."}]
    if not parts or any("\0" in part for part in parts):
        return _Absent("names no file")
    tails = [parts[at:] for at in range(len(parts)) if ".." not in parts[at:]]
    for tail in tails:
        path = folder.joinpath(*tail)
        if not files.is_file(path):
            continue
        try:
            path.resolve().relative_to(folder.resolve())
        except (ValueError, OSError):
            return _Absent("is a link to another folder")
        return path
    return _Absent("is not beside this file")


def _settings(folder: Path, name: str, shown_file: str) -> tuple[Path, tuple[ForeignKey, ...]] | Problem:
    file = name if name.lower().endswith(".toml") else f"{name}.toml"  # as sd-scripts does
    found = find(folder, file)
    last = file.replace("\\", "/").rpartition("/")[2]
    if isinstance(found, _Absent) and script_variables.is_unknown(last):
        words = "its settings are in a file whose name is only known when it runs"
        return Problem(words, "import that file: sdxl-train presets import FILE", shown_file)
    if isinstance(found, _Absent):
        hint = f"put {last} beside it and import again; or import it alone: " + formatting.shell_line(
            ["sdxl-train", "presets", "import", last]
        )
        return Problem(f"its settings are in {last}, which {found.reason}", hint, shown_file)
    try:
        text = untrusted_files.text_of(found, str(found))
        table = untrusted_files.toml_table(text, str(found))
        untrusted_files.require_settings(table, str(found))
        return found, toml_config.read(table, str(found)).entries
    except RecipeError as error:
        told = error.problems[0]
        return Problem(f"its settings are in {last}, which {told.message}", told.hint, shown_file)


def _dataset(path: Path) -> Sequence[ForeignKey]:
    """Options in which all datasets of a dataset config agree. Empty if it can't be read."""
    try:
        text = untrusted_files.text_of(path, str(path))
        table = untrusted_files.json_object(text, str(path)) if path.suffix.lower() == ".json" else (
            untrusted_files.toml_table(text, str(path))
        )  # fmt: skip
        untrusted_files.require_settings(table, str(path))
    except RecipeError:
        return ()
    general, datasets = table.get("general"), table.get("datasets")
    whole = general if isinstance(general, dict) else {}
    levels = [
        {**whole, **dataset, **subset}
        for dataset in (datasets if isinstance(datasets, list) else []) if isinstance(dataset, dict)
        for subset in _tables(dataset.get("subsets"))
    ]  # fmt: skip
    return tuple(_agreed(levels))


def _tables(raw: object) -> list[dict[str, object]]:
    return [part for part in raw if isinstance(part, dict)] if isinstance(raw, list) else []


def _agreed(levels: Sequence[dict[str, object]]) -> Iterator[ForeignKey]:
    for key in dict.fromkeys(key for level in levels for key in level):
        given = [level.get(key) for level in levels]
        name = f"dataset_config.{key}"
        if key in _OF_PICTURES:
            yield ignored(name, given[0], _ELSEWHERE)
        elif any(value != given[0] for value in given):
            yield ignored(name, ", ".join(map(shown, given)), _DIFFER)
        else:
            yield _one(name, _FROM_DATASET.get(key, key), given[0])


def _one(name: str, option: str, raw: object) -> ForeignKey:
    try:
        value: Value | None = values.convert(raw, option)
    except ValueError as error:
        return unknown(name, raw, str(error))
    return became(name, raw, option, value)
