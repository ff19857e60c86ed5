"""Locations of presets by name: shipped ones and the user's own."""

from __future__ import annotations

import re
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.recipe import Kind

SUFFIXES = (".yaml", ".yml")


def shipped_folder() -> Path:
    """The shipped presets: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "presets_data"
    return installed if installed.is_dir() else package.parent / "presets"


def search_folders(kind: Kind, user_folder: Path | None) -> list[Path]:
    """Folders in which a bare name is looked up, in order."""
    shipped = shipped_folder() / kind.value
    return [shipped] if user_folder is None else [user_folder / kind.value, user_folder, shipped]


def list_files(folder: Path) -> list[Path]:
    """A folder's presets, dim32 before dim128. Those with a leading underscore are only for extending."""
    paths = [path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES and not path.stem.startswith("_")]
    return sorted(paths, key=lambda path: re.sub(r"\d+", lambda digits: digits[0].zfill(9), path.stem))


def find_by_name(kind: Kind, name: str, user_folder: Path | None) -> list[Path]:
    """Every preset of that bare name. The first one takes precedence."""
    return [path for folder in search_folders(kind, user_folder) for path in list_files(folder) if path.stem == name]


def kind_by_folder(path: Path) -> Kind | None:
    """A preset's kind according to its folder's name."""
    return next((kind for kind in Kind if kind.value == path.absolute().parent.name), None)


def is_path(text: str) -> bool:
    """Whether a preset argument is a file rather than a name."""
    return "/" in text or "\\" in text or text.lower().endswith(SUFFIXES)


def is_shipped(path: Path) -> bool:
    """Whether the preset came with sdxl-train."""
    return path.resolve().is_relative_to(shipped_folder())


def shown(path: Path) -> str:
    """A preset's name in messages. Shipped ones need no folder."""
    return path.name if is_shipped(path) else str(path)


def write(path: Path, text: str, *, force: bool) -> None:
    """Write a preset or an export. UsageError if that fails, or if the file exists and `force` is false."""
    try:
        with files.made_parent(path):
            files.write(path, text, over=force)
    except FileExistsError as error:
        raise UsageError(f"{path} already exists", "choose another name, or overwrite it: --force") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} can't be written: {_reason(error)}", "choose another place") from error


def _reason(error: OSError | ValueError) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
