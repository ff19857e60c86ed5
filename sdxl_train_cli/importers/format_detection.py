"""Recognise a settings file by its content, never by its name."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from sdxl_train_cli import files, handed_file, untrusted_files
from sdxl_train_cli.errors import Problem, RecipeError
from sdxl_train_cli.importers import (
    command_line,
    derrian,
    kohya_gui,
    lora_metadata,
    named_settings,
    onetrainer,
    python_code,
    toml_config,
)
from sdxl_train_cli.importers.foreign_settings import ForeignSettings
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.sdscripts import checkpoint, pickles

_KNOWN = (
    "a JSON of kohya_ss or OneTrainer, a TOML of sd-scripts or LoRA_Easy_Training_Scripts, a script that calls"
    " sdxl_train_network.py or sdxl_train.py, or a trained .safetensors"
)
_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_HEAD_BYTES = 9
_OPTIONS_ALONE = re.compile(r"\s*--[a-z]\w{2,}[ =\n]")
"""An excerpt of a command line: its options without the call."""
_COMMENT = re.compile(r"(?m)^[ \t]*#.*$")


def read(path: Path, shown: str) -> ForeignSettings:
    """Read a file's settings. RecipeError or ModelError if it has none for SDXL."""
    try:
        return _read(path, shown)
    except RecipeError as error:
        other = handed_file.other_kind(path, "settings script network checkpoint pickle", "settings of a training")
        if other is None:
            raise
        raise RecipeError(other) from error


def _read(path: Path, shown: str) -> ForeignSettings:
    head = _head(path, shown)
    if head.startswith(_PICKLES) or path.suffix.lower() in pickles.SUFFIXES:
        hint = "files like this are never opened here; import its .safetensors, or the settings that it was made with"
        raise RecipeError(Problem("is a pickle, which can run any code that its author put into it", hint, shown))
    if _is_safetensors(head, path):
        return lora_metadata.read(checkpoint.read_header(path), shown)
    text = untrusted_files.text_of(path, shown)
    return named_settings.followed(read_text(text, shown), path.absolute().parent, shown)


def read_text(text: str, shown: str) -> ForeignSettings:
    """Read the settings in a text. RecipeError if it has none for SDXL."""
    return replace(_of_text(text, shown), text=text)


def _of_text(text: str, shown: str) -> ForeignSettings:
    if text.lstrip().startswith(("{", "[{")):
        return _of_json(text, shown)
    if _OPTIONS_ALONE.match(text):
        given = {word.partition("=")[0].removeprefix("--") for word in text.split() if word.startswith("--")}
        is_full = bool(given & toml_config.ONLY_FULL) and not any(name.startswith("network_") for name in given)
        script = "sdxl_train.py" if is_full else "sdxl_train_network.py"
        script = Kind.EMBEDDING.script if given & toml_config.ONLY_EMBEDDING else script
        return command_line.read(f"{script} {text.lstrip()}", shown)
    if command_line.is_one(_COMMENT.sub("", text)):
        return command_line.read(text, shown)
    found = untrusted_files.toml_table(text, shown) if "=" in text else {}
    untrusted_files.require_settings(found, shown)
    if derrian.is_one(found):
        return derrian.read(found, shown)
    if toml_config.is_one(found):
        return toml_config.read(found, shown)
    if isinstance(found.get("datasets"), list):
        hint = "it says where pictures are: sdxl-train lora --data FOLDER"
        raise RecipeError(Problem("is a dataset configuration, which holds no training settings", hint, shown))
    raise RecipeError(Problem("is not a known settings file", f"known formats: {_KNOWN}", shown))


def _of_json(text: str, shown: str) -> ForeignSettings:
    found = untrusted_files.json_object(text, shown)
    if isinstance(found.get("cells"), list) and "nbformat" in found:
        return command_line.read(python_code.cells(found), shown)
    untrusted_files.require_settings(found, shown)
    if onetrainer.is_one(found):
        return onetrainer.read(found, shown)
    if kohya_gui.is_one(found):
        return kohya_gui.read(found, shown)
    raise RecipeError(Problem("is JSON, but from neither kohya_ss nor OneTrainer", f"known formats: {_KNOWN}", shown))


def _head(path: Path, shown: str) -> bytes:
    try:
        with files.open_plain(path) as file:
            return file.read(_HEAD_BYTES)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RecipeError(Problem(f"cannot be read: {reason}", where=shown)) from error


def _is_safetensors(head: bytes, path: Path) -> bool:
    """Whether it starts with a header length and a brace. A broken file is recognised by its suffix."""
    return (
        len(head) == _HEAD_BYTES and head[8:] == b"{" and b"\0" in head[:8]
    ) or path.suffix.lower() == ".safetensors"
