"""Sweeps on disk: a folder for each below the home, changed under one lock."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from sdxl_train_cli import files, formatting
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.sweeps.sweep import Sweep

_FILE, _LOCK = "sweep.json", "sweeps.lock"
_PATIENCE_SECONDS = 60.0
"""What another command does under the lock takes a second: a search's question."""


class Sweeps:
    """The sweeps in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Let nobody else change a sweep for the duration of the block."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / _LOCK, timeout=_PATIENCE_SECONDS):
                yield
        except Timeout:
            raise UsageError(f"another command changes the sweeps in {self.folder}", "wait for it to end") from None
        except OSError as error:
            raise UsageError(
                f"{self.folder} can't be written: {error.strerror}", "check space and permissions"
            ) from error

    def free_name(self, wanted: str, is_known: Callable[[Sweep], bool]) -> str:
        """The wanted name, numbered if there is such a sweep.

        One that was cut off before its points were queued makes room: nothing of it ever existed. `is_known` tells
        whether its jobs are there after all. A record that can't be read stays: a newer sdxl-train may read it.
        """
        name, number = wanted, 2
        while (self.folder / name).exists():
            found = self._read(name)
            is_taken = files.exists(self.folder / name / _FILE) if found is None else found.is_queued or is_known(found)
            if not is_taken:
                break
            name, number = f"{wanted}-{number}", number + 1
        return name

    def write(self, sweep: Sweep) -> None:
        """Write a sweep's record, whole or not at all. Call it while changing."""
        folder = self.folder / sweep.name
        folder.mkdir(parents=True, exist_ok=True)
        files.write(folder / _FILE, sweep.model_dump_json(indent=1, exclude_defaults=True) + "\n")

    def change(self, name: str, changed: Callable[[Sweep], Sweep]) -> Sweep:
        """Change a sweep as it is now."""
        with self.changing():
            found = changed(self.require(name))
            self.write(found)
        return found

    def all(self) -> list[Sweep]:
        """Every sweep, newest first. One that can't be read is left out."""
        if not files.is_folder(self.folder):
            return []
        found = [self._read(path.name) for path in self.folder.iterdir() if files.is_file(path / _FILE)]
        return sorted((one for one in found if one is not None), key=lambda one: one.made, reverse=True)

    def require(self, name: str) -> Sweep:
        """The sweep of this name. UsageError if there is none, or its record is broken."""
        is_plain = name and Path(name).name == name
        if is_plain and files.is_file(self.folder / name / _FILE):
            found = self._read(name)
            if found is not None:
                return found
            raise UsageError(f"{self.folder / name / _FILE} can't be read", f"the runs are untouched; {_LIST}")
        there = formatting.some(tuple(one.name for one in self.all()), 5)
        hint = f"there are: {there}" if there else "sdxl-train sweep lora --set learning_rate=5e-5,1e-4 makes one"
        raise UsageError(f"no sweep '{formatting.cut(name)}'", hint)

    def remove(self, name: str) -> None:
        """Forget a sweep. Its runs stay."""
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def with_token(self, token: str) -> Sweep | None:
        """The sweep that a job belongs to. None if to none."""
        return next((one for one in self.all() if any(point.token == token for point in one.points)), None)

    def _read(self, name: str) -> Sweep | None:
        try:
            return Sweep.model_validate_json(files.read_bytes(self.folder / name / _FILE))
        except (OSError, ValidationError, ValueError):
            return None


_LIST = "`sdxl-train sweep list` shows the others"
