"""What setup owns in a home, recognised by marker and name. Nothing else is ever removed."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import EnvironmentFiles
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.layout import Home

MARKER = ".sdxl-train-environment"
_LONGEST_NAME = 1000
_WORDS = "sdxl-train made this folder, and may remove it again: keep nothing of yours here.\n"
_HOME_WORDS = "sdxl-train's home: `sdxl-train setup` makes and removes the folders in environments.\n"
_HALF_WRITTEN = re.compile(rf"{files.HALF_WRITTEN}|(current|options\.json|lock\.json)\.new")
"""Temporary files left by a power cut, of this and earlier releases."""


def claim(home: Home) -> None:
    """Create the home, or verify that it is ours. SetupError if it contains other files or is read-only."""
    try:
        home.path.mkdir(parents=True, exist_ok=True)
        if not files.is_file(home.marker):
            if not _is_ours(home):
                raise SetupError(
                    f"{home.path} holds other files and is not an sdxl-train home",
                    "give --home a new or an empty folder",
                )
            files.write(home.marker, _HOME_WORDS)
            _adopt(home)
        home.environments.mkdir(exist_ok=True)
        if home.current.is_dir():
            raise SetupError(f"{home.current} can't be written: it is a folder", "remove it, and try again")
    except OSError as error:
        what = "written" if files.is_folder(home.path) else "made"
        raise SetupError(
            f"{home.path} can't be {what}: {error.strerror}", "choose another place with --home or SDXL_TRAIN_HOME"
        ) from error


def _is_ours(home: Home) -> bool:
    """Whether it contains only our files, or a complete environment of a release without markers."""
    known = {part.name for part in home.parts}
    there = list(home.path.iterdir())
    only_ours = all(path.name in known or _HALF_WRITTEN.fullmatch(path.name) for path in there)
    if any(path.is_symlink() for path in there if path != home.environments) or not _names_an_environment(home.current):
        return False
    made = list(home.environments.iterdir()) if home.environments.is_dir() else []
    is_known = _was_made if home.environments.is_symlink() else _looks_made  # a link may point to anybody's folder
    return (only_ours and all(map(is_known, made))) or any(map(_was_made, made))


def _names_an_environment(current: Path) -> bool:
    """Whether the file is absent or written by setup. Other software may use the same name."""
    try:
        text = files.read_text(current, _LONGEST_NAME).strip("\0 \n")
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return current.is_dir()  # reported separately
    return not text or environment.NAME.fullmatch(text) is not None


def _adopt(home: Home) -> None:
    """Mark folders created by a release without markers."""
    for folder in home.environments.iterdir() if home.environments.is_dir() else ():
        if _looks_made(folder):
            files.write(folder / MARKER, _WORDS)


def _looks_made(folder: Path) -> bool:
    """Whether name and content are those of an environment, complete or not."""
    parts = EnvironmentFiles(folder)
    known = {path.name for path in (parts.venv, parts.checkout, parts.compiled, parts.options, parts.lock)} | {MARKER}
    return (
        environment.NAME.fullmatch(folder.name) is not None
        and folder.is_dir()
        and not folder.is_symlink()
        and all(path.name in known or _HALF_WRITTEN.fullmatch(path.name) for path in folder.iterdir())
    )


def _was_made(folder: Path) -> bool:
    return _looks_made(folder) and environment.lock(folder) is not None


def make(folder: Path) -> None:
    """Create an environment's folder. Its marker is written before anything else."""
    folder.mkdir()
    files.write(folder / MARKER, _WORDS)


def list_made(home: Home) -> list[Path]:
    """Folders that setup created."""
    return [
        folder
        for folder in sorted(home.environments.iterdir())
        if environment.NAME.fullmatch(folder.name) and not folder.is_symlink() and files.is_file(folder / MARKER)
    ]


def was_finished(folder: Path) -> bool:
    """Whether it was complete once: the lock is written last."""
    return any(folder.glob(f"{EnvironmentFiles(folder).lock.name}*"))


def remove(folder: Path) -> None:
    """Remove a folder returned by `list_made`.

    If interrupted, the remainder does not count as an environment and is still recognised as ours. Undeletable files,
    such as a running program, stay until the next time.
    """
    with contextlib.suppress(OSError):
        EnvironmentFiles(folder).lock.unlink(missing_ok=True)
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != MARKER:
                path.unlink()
        shutil.rmtree(folder)
