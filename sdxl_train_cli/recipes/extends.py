"""A preset file and the chain of presets that it extends, nearest first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import files, handed_file
from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.recipe import Kind, Setting
from sdxl_train_cli.recipes import preset_folders, yaml_file
from sdxl_train_cli.sdscripts import other_names

OWN_KEYS = ("extends", "description", "group")
DEEPEST = 8


@dataclass(frozen=True)
class PresetLayer:
    """One file of the chain."""

    path: Path
    document: yaml_file.YamlDocument

    @property
    def extends(self) -> yaml_file.YamlEntry | None:
        """The entry naming the preset that it builds on."""
        return self.document.get("extends")

    @property
    def description(self) -> str:
        """Its own description, or the preset that it builds on."""
        entry = self.document.get("description")
        if entry is not None:
            return str(entry.value)
        return f"extends {self.extends.value}" if self.extends is not None else ""

    @property
    def group(self) -> str | None:
        """The heading under which it is listed. Not inherited."""
        entry = self.document.get("group")
        return None if entry is None else str(entry.value)

    @property
    def settings(self) -> dict[str, Setting | None]:
        """Its own options. None removes an inherited one."""
        return {option: setting for _, option, setting in self._written()}

    def twice(self) -> list[Problem]:
        """Options that stand in the file under two names."""
        seen: dict[str, str] = {}
        found = []
        for entry, option, _ in self._written():
            if option in seen and seen[option] != entry.key:
                message = f"{entry.key} and {seen[option]} are the same option"
                found.append(Problem(message, "keep one of the two", self.document.where(entry)))
            seen.setdefault(option, entry.key)
        return found

    def _written(self) -> Iterator[tuple[yaml_file.YamlEntry, str, Setting | None]]:
        for entry in self.document.entries:
            if entry.key not in OWN_KEYS:
                option, value = other_names.understood(entry.key, entry.value)
                origin = self.document.where(entry)
                yield entry, option, None if value is None else Setting(value=value, origin=origin)


def load(path: Path, shown: str, kind: Kind | None, user_folder: Path | None) -> list[PresetLayer]:
    """Read the chain. Without a kind, a bare name in `extends` is looked up in the presets of every kind.

    Raises RecipeError with the file and line at fault.
    """
    other = handed_file.other_kind(path, "preset", "a preset")
    if other is not None:
        raise RecipeError(other)
    layers = [_layer(path, shown)]
    while (entry := layers[-1].extends) is not None:
        child = layers[-1]
        where = child.document.where(entry)
        parent = _parent(str(entry.value), child.path, kind, user_folder)
        if parent is None:
            hint = "name a preset, or a file relative to this one: ../mine.yaml"
            raise RecipeError(Problem(f"extends '{entry.value}', which does not exist", hint, where))
        if any(parent.samefile(layer.path) for layer in layers):
            raise RecipeError(Problem(f"extends '{entry.value}', which leads back to itself", None, where))
        if len(layers) == DEEPEST:
            raise RecipeError(Problem(f"extends through more than {DEEPEST} files", None, where))
        layers.append(_layer(parent, preset_folders.shown(parent)))
    return layers


def shipped_kind(layers: list[PresetLayer]) -> Kind | None:
    """Kind of the nearest shipped preset in the chain."""
    kinds = (preset_folders.kind_by_folder(layer.path) for layer in layers if preset_folders.is_shipped(layer.path))
    return next((kind for kind in kinds if kind is not None), None)


def _layer(path: Path, shown: str) -> PresetLayer:
    document = yaml_file.load(path, shown)
    problems = [
        Problem(f"{entry.key} takes one line of text", None, document.where(entry))
        for entry in document.entries
        if entry.key in OWN_KEYS and not (isinstance(entry.value, str) and entry.value)
    ]
    layer = PresetLayer(path, document)
    problems += layer.twice()
    if problems:
        raise RecipeError(problems)
    return layer


def _parent(extends: str, child: Path, kind: Kind | None, user_folder: Path | None) -> Path | None:
    beside = [Path(os.path.normpath(child.parent / (extends + suffix))) for suffix in ("", *preset_folders.SUFFIXES)]
    if preset_folders.is_path(extends):
        candidates = beside
    else:
        kinds = list(Kind) if kind is None else [kind]
        by_name = [path for one in kinds for path in preset_folders.find_by_name(one, extends, user_folder)]
        # Not itself: a user's own dim32-gc.yaml may extend the shipped preset of that name.
        candidates = [path for path in beside + by_name if not _is_same(path, child)]
    return next((path for path in candidates if files.is_file(path)), None)


def _is_same(one: Path, other: Path) -> bool:
    return files.is_file(one) and one.samefile(other)
