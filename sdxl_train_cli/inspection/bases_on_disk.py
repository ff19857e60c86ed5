"""SDXL bases that are on this computer: in image programs' folders, the hub's cache and the current folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

from sdxl_train_cli import files, layout, untrusted_files
from sdxl_train_cli.environment import hub
from sdxl_train_cli.errors import ModelError, RecipeError
from sdxl_train_cli.recipes import yaml_file
from sdxl_train_cli.sdscripts import base_model, checkpoint, model_spec
from sdxl_train_cli.sdscripts.base_model import BaseModel

_TABLE = Path(__file__).with_name("base_folders.toml")
_SUFFIX = ".safetensors"
_DEPTH = 2
"""Folders below a program's folder of models, in which people sort them."""
_MOST_FILES = 500
_VARIABLE = re.compile(r"\$(\w+)")


@dataclass(frozen=True)
class FoundBase:
    """One base that can be trained."""

    model: str
    """What `--model` takes."""
    place: str
    """The program whose folder it is in."""
    base: BaseModel
    is_anime: bool
    """Whether its name says that it was trained on tags."""

    @property
    def name(self) -> str:
        """The file's name, or the id on the hub."""
        return self.model if checkpoint.is_hub_id(self.model) else Path(self.model).name

    @property
    def label(self) -> str:
        """Prediction and family in words."""
        predicts = self.base.prediction.label if self.base.prediction else "prediction unclear"
        return f"{'anime, ' if self.is_anime else ''}{predicts}"


def find(environ: Mapping[str, str]) -> list[FoundBase]:
    """Every SDXL base that is found, known by its header alone. Newest files first in each place."""
    seen: set[str] = set()
    found = []
    for place, path in islice(_files(environ), _MOST_FILES):
        real = os.path.realpath(path)
        base = None if real in seen else _look(str(path), place)
        seen.add(real)
        found += [] if base is None else [base]
    cached = (_look(hub_id, "the hub's cache") for hub_id in hub.cached_pipelines(environ))
    return [*found, *filter(None, cached)]


def look(model: str, environ: Mapping[str, str]) -> FoundBase:
    """A base that was named. ModelError if it is none, or can't be trained."""
    checkpoint.require_sdxl(model)
    base = base_model.look(model, hub.fetched(model, environ))
    base.require_trainable(model)
    return FoundBase(model, "", base, is_anime=_is_anime(model))


def _look(model: str, place: str) -> FoundBase | None:
    """None for a file that is no SDXL base, as most files in such folders."""
    try:
        found = look(model, os.environ)
    except ModelError:
        return None
    return FoundBase(found.model, place, found.base, found.is_anime)


def _is_anime(model: str) -> bool:
    names = [Path(model).name if files.exists(layout.expand(Path(model))) else model]
    path = layout.expand(Path(model))
    if path.suffix.lower() == _SUFFIX and files.is_file(path):
        metadata = checkpoint.read_header(path).metadata
        names += [metadata.get(key, "") for key in (model_spec.TITLE, model_spec.MERGED_FROM)]
    return bool(_anime_words().search(" ".join(names).lower()))


def _files(environ: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    """Files of each place; those of the current folder with a relative path, as they are typed."""
    for row in _rows():
        depth = row.get("depth", _DEPTH)
        for home in _homes(row, environ):
            folders = [home / str(name) for name in _list(row, "folders")]
            for name in _list(row, "more"):
                folders += _extra_folders(home / name)
            for folder in folders:
                found = _below(folder, depth if isinstance(depth, int) else _DEPTH)
                for path in sorted(found, key=_age):
                    yield str(row["name"]), path


def _homes(row: Mapping[str, object], environ: Mapping[str, str]) -> Iterator[Path]:
    for text in _list(row, "places"):
        names = _VARIABLE.findall(text)
        if all(environ.get(name) for name in names):
            place = Path(_VARIABLE.sub(lambda name: environ[name[1]], text))
            home = layout.expand(place) if text.startswith("~") else place
            if files.is_folder(home):
                yield home


def _below(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = list(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        if files.is_folder(entry):
            yield from _below(entry, depth - 1) if depth and not entry.name.startswith(".") else ()
        elif entry.suffix.lower() == _SUFFIX and files.is_file(entry):
            yield entry


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:
        return 0.0


def _extra_folders(path: Path) -> Iterator[Path]:
    """Folders of checkpoints that ComfyUI's file of further paths names."""
    try:
        found = yaml_file.load_plain(path) if files.is_file(path) else None
    except RecipeError:
        return
    for section in found.values() if isinstance(found, dict) else ():
        if isinstance(section, dict):
            base = layout.expand(path.parent / str(section.get("base_path") or ""))
            for line in str(section.get("checkpoints") or "").splitlines():
                if line.strip():
                    yield base / line.strip()


@cache
def _table() -> Mapping[str, object]:
    return untrusted_files.toml_table(_TABLE.read_text(encoding="utf-8"), _TABLE.name)


def _rows() -> list[Mapping[str, object]]:
    found = _table()["program"]
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


@cache
def _anime_words() -> re.Pattern[str]:
    anime = _table()["anime"]
    return re.compile("|".join(_list(anime, "words") if isinstance(anime, dict) else ()))


def _list(row: Mapping[str, object], key: str) -> list[str]:
    value = row.get(key, [])
    return [str(each) for each in value] if isinstance(value, list) else []
