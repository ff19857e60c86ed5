"""Small files of other programs, of our own making, and what the tests of the exchange share."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from sdxl_train_cli.importers import format_detection, option_translation, preset_building, preset_text
from sdxl_train_cli.importers.foreign_settings import ForeignKey
from sdxl_train_cli.importers.preset_building import ImportedPreset
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Recipe, Value
from sdxl_train_cli.recipes import presets, yaml_file
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.rules import rules
from sdxl_train_cli.sdscripts import shipped

FOLDER = Path(__file__).with_name("foreign")
TABLE = shipped.table()


def imported(name: str) -> ImportedPreset:
    """One of the files, as it would be written."""
    return preset_building.build(format_detection.read(FOLDER / name, name), TABLE, name)


def of_text(text: str) -> ImportedPreset:
    """Settings in a text."""
    return preset_building.build(format_detection.read_text(text, "some"), TABLE, "some")


def of_form(**fields: object) -> ImportedPreset:
    """A form of the GUI's LoRA tab, filled in as far as the test cares."""
    form = {"LoRA_type": "Standard", "sdxl": True, "max_train_steps": 100, "max_resolution": "1024,1024", **fields}
    return of_text(json.dumps(form))


def entry(found: ImportedPreset, key: str) -> ForeignKey:
    """What became of a key."""
    return next(one for one in found.entries if one.key == key)


def recipe_of(found: ImportedPreset) -> Recipe:
    """The preset as it will be read."""
    changes = [Override(option, value, Origin(option)) for option, value in found.changes.items()]
    return presets.load(found.kind, found.base, changes)


def options(found: ImportedPreset) -> dict[str, Value]:
    """Every option of the preset, those of its base too."""
    return said(recipe_of(found))


def said(recipe: Recipe) -> dict[str, Value]:
    """The options that say something."""
    given = {option: setting.value for option, setting in recipe.settings.items()}
    return {option: value for option, value in given.items() if not option_translation.is_off(option, value)}


def differing(one: Mapping[str, Value], other: Mapping[str, Value]) -> dict[str, tuple[object, object]]:
    """The options in which two runs differ, however their values are written."""
    return {
        option: (one.get(option), other.get(option))
        for option in one.keys() | other.keys()
        if not option_translation.means_same(one.get(option), other.get(option))
    }


def require_sound(found: ImportedPreset) -> None:
    """The preset passes the check, and its YAML reads back as what it says."""
    rules.require(recipe_of(found), TABLE)
    document = yaml_file.parse(preset_text.render(found, "some file.json"), "some.yaml")
    written = {one.key: one.value for one in document.entries if one.key not in {"extends", "description"}}
    assert written == dict(found.changes)
    assert {option: type(value) for option, value in written.items()} == {
        option: type(value) for option, value in found.changes.items()
    }


def write_network(
    path: Path, record: Mapping[str, str], tensors: Sequence[str] = ("lora_unet_a.lora_down.weight",)
) -> Path:
    """Write a trained network's file with a record of its training."""
    header: dict[str, object] = {"__metadata__": dict(record)}
    header |= {name: {"dtype": "F16", "shape": [1], "data_offsets": [2 * place, 2 * place + 2]}
               for place, name in enumerate(tensors)}  # fmt: skip
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(2 * len(tensors)))
    return path
