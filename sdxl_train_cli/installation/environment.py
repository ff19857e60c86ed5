"""The isolated environment as it is installed: sd-scripts and a venv with all that it needs, whole or absent."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from sdxl_train_cli import process
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.installation import upstream
from sdxl_train_cli.installation.toolchain import Extra, TorchBuild
from sdxl_train_cli.layout import Home
from sdxl_train_cli.options import OptionTable
from sdxl_train_cli.rulebook import lycoris

INSIDE = Path(__file__).parents[1] / "inside"


class Request(BaseModel):
    """What setup was asked for; two equal requests make the same environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = upstream.DEFAULT_SOURCE
    ref: str = upstream.DEFAULT_REF
    python: str | None = None
    """A version such as `3.11`, or None for the one that sd-scripts is known to run with."""
    torch: TorchBuild = TorchBuild.AUTO
    extras: tuple[Extra, ...] = ()

    @field_validator("source")
    @classmethod
    def _from_anywhere(cls, source: str) -> str:
        """Keep a folder whole: the next setup may be asked from another one."""
        return upstream.located(source)


class Lock(BaseModel):
    """What was installed, exactly."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    request: Request
    ref: str
    commit: str
    toolchain: str | None
    """None: nothing was installed beside a checkout that brings its own accelerate (a rehearsal)."""
    torch_build: TorchBuild
    python: str
    packages: Mapping[str, str]
    eight_bit: bool = True
    """Whether bitsandbytes' 8-bit optimizers work here; its older releases need a GPU for them."""
    created: datetime


@dataclass(frozen=True)
class Files:
    """Where the parts of an environment stand in its folder."""

    folder: Path

    @property
    def venv(self) -> Path:
        """The virtual environment."""
        return self.folder / "venv"

    @property
    def python(self) -> Path:
        """The venv's interpreter."""
        return self.venv / ("Scripts/python.exe" if process.WINDOWS else "bin/python")

    @property
    def checkout(self) -> Path:
        """The sd-scripts files."""
        return self.folder / "sd-scripts"

    @property
    def options(self) -> Path:
        """What the training scripts understand."""
        return self.folder / "options.json"

    @property
    def lock(self) -> Path:
        """What was installed."""
        return self.folder / "lock.json"


class Environment(BaseModel):
    """A whole environment on disk."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    lock: Lock

    @property
    def python(self) -> Path:
        """The venv's interpreter."""
        return Files(self.folder).python

    @property
    def checkout(self) -> Path:
        """The sd-scripts files."""
        return Files(self.folder).checkout

    @property
    def is_rehearsal(self) -> bool:
        """Whether the trainer is a stand-in, which trains nothing."""
        return self.lock.toolchain is None

    @property
    def networks(self) -> frozenset[str]:
        """Network modules that newer sd-scripts have and older ones lack, of which LyCORIS can stand in for some."""
        return frozenset(name for name in lycoris.NATIVE if (self.checkout / f"{name.replace('.', '/')}.py").is_file())

    def has(self, extra: Extra) -> bool:
        """Whether an extra is installed, by setup or by hand."""
        return self.has_module(extra.package)

    def has_module(self, name: str) -> bool:
        """Whether sd-scripts would find a module by this dotted name: among its own files, or in the venv.

        A stand-in imports nothing from a venv and so lacks nothing there.
        """
        top, *inner = name.split(".")
        own = [self.checkout / top, self.checkout / f"{top}.py"]
        if any(path.exists() for path in own):
            path = self.checkout.joinpath(top, *inner)
            return path.is_dir() or path.with_name(f"{path.name}.py").is_file()
        venv, places = Files(self.folder).venv, ("lib/python*/site-packages", "Lib/site-packages")
        there = (any(venv.glob(f"{place}/{file}")) for place in places for file in (top, f"{top}.py"))
        return self.is_rehearsal or any(there)

    def options(self) -> OptionTable:
        """Every option of the installed training scripts."""
        return OptionTable.load(Files(self.folder).options)


def find(home: Home) -> Environment | None:
    """The environment that counts, or None where there is none or its files are gone."""
    try:
        files = Files(home.environments / home.current.read_text(encoding="utf-8").strip())
        lock = Lock.model_validate_json(files.lock.read_text(encoding="utf-8"))
        OptionTable.load(files.options)
    except (OSError, ValueError):  # absent, or left broken by a power cut: NUL bytes, half a file
        return None
    whole = files.python.exists() and files.checkout.is_dir()
    return Environment(folder=files.folder, lock=lock) if whole else None


def require(home: Home) -> Environment:
    """The environment that counts; SetupError where there is none."""
    found = find(home)
    if found is None:
        raise SetupError("sd-scripts is not installed yet", "run `sdxl-train setup`")
    return found


def ask(place: Environment | Files, script: str, *arguments: str) -> dict[str, Any]:
    """Run one of our scripts in the environment and give the JSON object that it prints; SetupError where it fails."""
    answer = process.run(
        [str(place.python), str(INSIDE / script), *arguments], cwd=place.checkout, env=training_variables()
    )
    if answer.code != 0:
        words = answer.stderr.strip().splitlines() or [f"exit code {answer.code}"]
        raise SetupError(f"the new environment does not work: {words[-1]}", "see `sdxl-train setup --help` for --torch")
    facts: dict[str, Any] = json.loads(answer.stdout)
    return facts


def training_variables() -> dict[str, str]:
    """The environment variables that everything on the training side runs with."""
    kept = {name: value for name, value in os.environ.items() if name not in _HARMFUL}
    return {**kept, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}


_HARMFUL = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__", "PYTHONSAFEPATH", "PYTHONIOENCODING",
            "PYTHONDONTWRITEBYTECODE")  # fmt: skip
"""Would let the CLI's own packages, or the user's, into the isolated environment, or hide sd-scripts' from itself; end
a run at a printed letter; or, the last one, make every run compile torch's Python anew, 10 seconds each time."""
