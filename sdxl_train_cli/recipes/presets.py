"""Find, extend, override, list and check presets. Every setting keeps its origin."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sdxl_train_cli import files, formatting
from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Recipe, Setting, Value
from sdxl_train_cli.recipes import extends, preset_folders, yaml_file
from sdxl_train_cli.sdscripts import other_names

_SET = Origin("--set")


@dataclass(frozen=True)
class Override:
    """An option set outside of a preset. A value of None removes the option."""

    option: str
    value: Value | None
    origin: Origin
    """Where the user set it: `--set`, `--batch-size`, `sdxl-train.yaml:4`."""
    sizes: tuple[int, ...] = ()
    """Of `resolution`: the sides of several squares to train at."""

    @classmethod
    def written(cls, name: str, value: Value | None, origin: Origin) -> Override:
        """What someone wrote, whose name may be another program's."""
        return cls(*other_names.understood(name, value), origin)

    @property
    def setting(self) -> Setting | None:
        """As a recipe keeps it. None takes the option away."""
        return None if self.value is None else Setting(value=self.value, origin=self.origin, sizes=self.sizes)


@dataclass(frozen=True)
class ListedPreset:
    """A preset in a list."""

    kind: Kind | None
    """None for a user's preset without a kind, which suits every kind."""
    name: str
    description: str
    path: Path
    group: str | None = None
    """What the preset is made for: a heading of the list. None for those that differ by size and memory alone."""


def parse_override(text: str) -> Override:
    """Parse a value of `--set`: `option=value`. `option=null` removes the option."""
    option, equals, value = text.partition("=")
    if not equals or not option.strip():
        raise RecipeError(Problem(f"takes OPTION=VALUE, not '{text}'", "such as network_dim=64", _SET))
    return Override.written(option.strip(), None if value.strip() == "null" else value, _SET)


def with_sizes(*sides: int) -> list[Override]:
    """Options set by `--resolution`. Buckets keep their proportions at 1024: half to twice the side, in 64s.

    Of several sides, the largest one stands for the run.
    """
    side = max(sides)
    smallest, largest = max(64, side // 2 // 64 * 64), max(64, side * 2 // 64 * 64)
    origin = Origin("--resolution")
    return [
        Override("resolution", f"{side},{side}", origin, sides if len(sides) > 1 else ()),
        Override("min_bucket_reso", smallest, origin),
        Override("max_bucket_reso", largest, origin),
    ]


def load(kind: Kind, name_or_path: str, overrides: Sequence[Override] = (), user_folder: Path | None = None) -> Recipe:
    """Resolve a preset and overrides. Values stay as written until `rules.require` converts them.

    Raises RecipeError.
    """
    path, shown = _located(kind, name_or_path, user_folder)
    layers = extends.load(path, shown, kind, user_folder)
    other = extends.shipped_kind(layers)
    if other is not None and other is not kind:
        hint = f"sdxl-train {other.value} --preset {name_or_path}"
        raise RecipeError(Problem(f"is a {other.label} preset, not a {kind.label} one", hint, shown))
    return with_overrides(_merged(kind, path.stem, layers), overrides)


def with_overrides(recipe: Recipe, overrides: Sequence[Override]) -> Recipe:
    """The recipe with what is set outside of its preset; of several for one option the last counts."""
    return recipe.replaced({override.option: override.setting for override in overrides})


def as_lines(problem: Problem) -> Problem:
    """The problem with its ways out as lines of a preset file, for one that is checked and not trained with."""
    written = [" and ".join(f"`{yaml_file.line_of_setting(one)}`" for one in way.settings) for way in problem.ways]
    told = [f"{text}   {way.words}" if way.words else text for way, text in zip(problem.ways, written, strict=True)]
    hint = [f"write {', or '.join(told)}"] if told else []
    return replace(problem, ways=(), hint="\n".join([*hint, *filter(None, [problem.hint])]) or None)


def names(kind: Kind, user_folder: Path | None = None) -> list[str]:
    """Bare names available for this kind, the user's own first."""
    folders = preset_folders.search_folders(kind, user_folder)
    return list(dict.fromkeys(path.stem for folder in folders for path in preset_folders.list_files(folder)))


def names_by_size(kind: Kind, user_folder: Path | None = None) -> list[str]:
    """Bare names without shipped presets that are made for one use, which a person must choose."""
    shipped = preset_folders.list_files(preset_folders.shipped_folder() / kind.value)
    made_for_use = {path for path in shipped if _found(kind, path, None).group is not None}
    found = {name: preset_folders.find_by_name(kind, name, user_folder)[0] for name in names(kind, user_folder)}
    return [name for name, path in found.items() if path not in made_for_use]


def list_presets(kind: Kind | None = None, user_folder: Path | None = None) -> list[ListedPreset]:
    """Every preset of the kind, or of all kinds. A broken one is listed with its error as the description."""
    kinds = list(Kind) if kind is None else [kind]
    folders = [(one, root / one.value) for root in _roots(user_folder) for one in kinds]
    found = [_found(one, path, user_folder) for one, folder in folders for path in preset_folders.list_files(folder)]
    anywhere = [] if user_folder is None else preset_folders.list_files(user_folder)
    found += [_found(None, path, user_folder) for path in anywhere]
    return [preset for preset in found if preset.kind is None or preset.kind in kinds]


def kind_of(path: Path, user_folder: Path | None = None) -> Kind | None:
    """A preset file's kind: by its folder's name, or by the shipped preset that it extends.

    Raises RecipeError if the file can't be read.
    """
    named = preset_folders.kind_by_folder(path)
    return named or extends.shipped_kind(extends.load(path, str(path), None, user_folder))


def of_file(path: Path, kind: Kind | None = None, user_folder: Path | None = None) -> Recipe:
    """The recipe of a preset file, its values as written. RecipeError if it can't be read or names no kind."""
    kind = kind or kind_of(path, user_folder)
    layers = extends.load(path, str(path), kind, user_folder)
    if kind is None:
        hint = f"put it into a folder named {Kind.listed()}, or make it extend a shipped preset"
        raise RecipeError(Problem("does not say what it trains", hint, str(path)))
    return _merged(kind, path.stem, layers)


def _located(kind: Kind, name_or_path: str, user_folder: Path | None) -> tuple[Path, str]:
    path = Path(name_or_path)
    if preset_folders.is_path(name_or_path) or files.is_file(path):
        return path, name_or_path
    paths = preset_folders.find_by_name(kind, name_or_path, user_folder)
    if not paths:
        hint = _elsewhere(kind, name_or_path, user_folder) or _nearest(name_or_path, names(kind, user_folder))
        raise RecipeError(f"no {kind.label} preset named '{name_or_path}'", hint)
    return paths[0], preset_folders.shown(paths[0])


def _elsewhere(kind: Kind, name: str, user_folder: Path | None) -> str | None:
    others = (other for other in Kind if other is not kind and preset_folders.find_by_name(other, name, user_folder))
    other = next(others, None)
    return None if other is None else f"it is a {other.label} preset: sdxl-train {other.value} --preset {name}"


def _nearest(name: str, known: Sequence[str]) -> str:
    def likeness(candidate: str) -> float:
        return difflib.SequenceMatcher(None, formatting.cut(name), formatting.cut(candidate)).ratio()

    return "try one of: " + ", ".join(sorted(known, key=likeness, reverse=True)[:5])


def _merged(kind: Kind, name: str, layers: Sequence[extends.PresetLayer]) -> Recipe:
    recipe = Recipe(kind=kind, name=name, description=layers[0].description, settings={})
    for layer in reversed(layers):
        recipe = recipe.replaced(layer.settings)
    return recipe


def _roots(user_folder: Path | None) -> list[Path]:
    return [preset_folders.shipped_folder(), *([] if user_folder is None else [user_folder])]


def _found(kind: Kind | None, path: Path, user_folder: Path | None) -> ListedPreset:
    try:
        layers = extends.load(path, preset_folders.shown(path), kind, user_folder)
    except RecipeError as error:
        return ListedPreset(kind, path.stem, f"broken: {error.problems[0]}", path)
    nearest = layers[0]
    return ListedPreset(kind or extends.shipped_kind(layers), path.stem, nearest.description, path, nearest.group)
