"""The installed environment: sd-scripts and a venv with its requirements. It is complete or does not exist."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sdxl_train_cli import files, language, layout, process, redact
from sdxl_train_cli.environment import existing_torch, upstream
from sdxl_train_cli.environment.existing_torch import ExistingTorch
from sdxl_train_cli.environment.toolchain import Extra, TorchBuild
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.sdscripts import lycoris, shipped
from sdxl_train_cli.sdscripts.options import EVERYWHERE, OptionTable

INSIDE = Path(__file__).parents[1] / "inside"
NAME = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
"""Name of an environment's folder: its creation time and a random part. Newer names sort later."""
ANEW = "run `sdxl-train setup --recreate`"
_MENDED = "run `sdxl-train doctor --fix`, or `sdxl-train setup --recreate`"


class SetupRequest(BaseModel):
    """What setup shall install. Equal requests produce equal environments."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str = upstream.DEFAULT_SOURCE
    ref: str | None = None
    """A branch, tag or commit, or None for the newest known release that the source has."""
    python: str | None = None
    """A version such as `3.11`, or None for the one known to work with this sd-scripts."""
    torch: TorchBuild = TorchBuild.AUTO
    extras: tuple[Extra, ...] = ()
    wheels: str | None = None
    """A folder to install from, without a network."""

    @field_validator("source")
    @classmethod
    def _from_anywhere(cls, source: str) -> str:
        """Store folders as absolute paths, as the next setup may run elsewhere, and drop passwords."""
        return redact.text(upstream.resolve_source(source))

    @field_validator("python", "wheels")
    @classmethod
    def _absolute(cls, path: str | None) -> str | None:
        """Store paths as absolute ones. A Python may also be a version or a name."""
        is_path = path is not None and (os.sep in path or "/" in path or files.exists(path))
        return str(layout.expand(Path(path))) if is_path and path else path


class Abilities(BaseModel):
    """What the installed trainer can do beside plain training. Our scripts ask it once."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    not_scaled: str | None
    """Why it can't train a scaled-down model. None if it can."""
    not_resumed: str | None
    """Why it can't resume a run of a network with the right step count. None if it can."""
    full_not_resumed: str | None = None
    """The same of a Dreambooth run."""
    asked_by: str
    """SHA-256 of our scripts that answered. Newer ones may be able to do more."""


class EnvironmentLock(BaseModel):
    """Exactly what was installed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    request: SetupRequest
    ref: str
    commit: str
    toolchain: str | None
    """None if only a checkout with its own accelerate was installed."""
    torch_build: TorchBuild
    existing: ExistingTorch | None = None
    """The torch of another Python that is used, if there is none in the venv."""
    python: str
    packages: Mapping[str, str]
    eight_bit: bool = True
    """Whether bitsandbytes' 8-bit optimizers work here. Older releases need a GPU for them."""
    contexts_gib: Mapping[str, float] = Field(default_factory=dict)
    """What CUDA's context takes of each GPU, by its name. Empty where setup found none, or could not measure it."""
    abilities: Abilities | None = None
    """None where the setup did not ask."""
    created: datetime

    @property
    def trains(self) -> bool:
        """Whether there is a torch: without one, a trainer goes through its motions and changes no weights."""
        return self.toolchain is not None


@dataclass(frozen=True)
class EnvironmentFiles:
    """Paths within an environment's folder."""

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
    def compiled(self) -> Path:
        """Compiled files of packages that another Python has."""
        return self.folder / "compiled"

    @property
    def options(self) -> Path:
        """Options of the training scripts."""
        return self.folder / "options.json"

    @property
    def lock(self) -> Path:
        """The record of what was installed."""
        return self.folder / "lock.json"


def _sources(module: Path) -> list[Path]:
    """The Python files of a module."""
    if files.is_folder(module):
        return sorted(module.rglob("*.py"))
    return [path for path in (module, module.with_name(f"{module.name}.py")) if files.is_file(path)]


class Environment(BaseModel):
    """A complete environment on disk."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    lock: EnvironmentLock

    @property
    def python(self) -> Path:
        """The venv's interpreter."""
        return EnvironmentFiles(self.folder).python

    @property
    def checkout(self) -> Path:
        """The sd-scripts files."""
        return EnvironmentFiles(self.folder).checkout

    @property
    def trains(self) -> bool:
        """Whether a run changes weights."""
        return self.lock.trains

    @property
    def networks(self) -> frozenset[str]:
        """Network modules of newer sd-scripts that are present. LyCORIS can replace some that are missing."""
        return frozenset(name for name in lycoris.NATIVE if (self.checkout / f"{name.replace('.', '/')}.py").is_file())

    def has(self, extra: Extra) -> bool:
        """Whether an extra is installed, by setup or by hand."""
        return self.has_module(extra.package)

    def has_module(self, name: str) -> bool:
        """Whether sd-scripts could import this dotted name, from its own files or the venv.

        A trainer without torch imports nothing from a venv, so it lacks nothing.
        """
        top, *inner = name.split(".")
        if not all(part.isidentifier() for part in (top, *inner)):
            return False
        if any(map(files.exists, self._own(top))):
            path = self.checkout.joinpath(top, *inner)
            return files.is_folder(path) or files.is_file(path.with_name(f"{path.name}.py"))
        return not self.trains or bool(self._installed(top))

    def mentions(self, module: str, name: str) -> bool:
        """Whether a module that is there has this name in its Python files. True if it has none that can be read.

        A class may come from elsewhere, but a module that offers it has to name it.
        """
        top, *inner = module.split(".")
        own = [path for path in self._own(top) if files.exists(path)]
        sources = [
            source
            for path in own or (self._installed(top) if self.trains else [])
            for source in _sources(path.joinpath(*inner))
        ]
        word = re.compile(rf"\b{re.escape(name)}\b".encode())
        return not sources or any(word.search(files.read_bytes(source)) for source in sources)

    def _own(self, top: str) -> list[Path]:
        return [self.checkout / top, self.checkout / f"{top}.py"]

    def _installed(self, top: str) -> list[Path]:
        venv, places = EnvironmentFiles(self.folder).venv, ("lib/python*/site-packages", "Lib/site-packages")
        folders = [folder for place in places for folder in venv.glob(place)]
        folders += [Path(path) for path in self.lock.existing.paths] if self.lock.existing else []
        found = ([path for file in (top, f"{top}.py") if files.exists(path := folder / file)] for folder in folders)
        return next(filter(None, found), [])  # what an earlier folder has hides the rest

    def options(self) -> OptionTable:
        """Every option of the installed training scripts."""
        return shipped.completed(OptionTable.load(EnvironmentFiles(self.folder).options), self.lock.commit)

    def require_trainer(self, kind: Kind) -> None:
        """SetupError if this sd-scripts has no script for the kind."""
        if not files.is_file(self.checkout / kind.script):
            raise SetupError(
                f"this sd-scripts ({self.lock.ref}) can't train {kind.label}: it has no {kind.script}",
                "run `sdxl-train setup --update`",
            )


def find(home: Home) -> Environment | None:
    """The current environment. None if there is none, or if it is incomplete."""
    try:
        return require(home)
    except SetupError:
        return None


def option_table(home: Home) -> OptionTable:
    """Options of the installed sd-scripts, or of the pinned release if none is installed."""
    found = find(home)
    return shipped.table() if found is None else found.options()


def require(home: Home) -> Environment:
    """The current environment. SetupError if there is none, or if it is incomplete."""
    counts = current_folder(home)
    if counts is not None:
        return _whole(counts)
    if newest(home) is not None:
        raise SetupError(
            f"{home.current} does not say which environment to use, but there is a complete one",
            "run `sdxl-train setup`: it uses that one and downloads nothing",
        )
    raise SetupError(language.problem("not-set-up", "sd-scripts is not installed yet", "run `sdxl-train setup`"))


def current_folder(home: Home) -> Path | None:
    """The folder named as current, complete or not. None if none is named."""
    return named(home, home.current) if home.chosen is None else home.environments / home.chosen


def named(home: Home, file: Path) -> Path | None:
    """The environment's folder that a small file names. None if it names none that is there."""
    try:
        name = files.read_text(file, _LONGEST_NAME).strip()
    except (OSError, ValueError):  # absent, or filled with NUL bytes by a power cut
        return None
    folder = home.environments / name
    return folder if NAME.fullmatch(name) and files.is_folder(folder) else None


_LONGEST_NAME = 1000


def newest(home: Home) -> Environment | None:
    """The newest complete environment. Used if the file that names the current one is lost."""
    return next(iter_whole(home), None)


def iter_whole(home: Home) -> Iterator[Environment]:
    """Every complete environment, the newest first."""
    try:
        folders = sorted((path for path in home.environments.iterdir() if NAME.fullmatch(path.name)), reverse=True)
    except OSError:
        return
    for folder in folders:
        try:
            yield _whole(folder)
        except SetupError:
            continue


def lock(folder: Path) -> EnvironmentLock | None:
    """What was installed in an environment's folder. None if its record is unreadable."""
    try:
        return EnvironmentLock.model_validate_json(files.read_text(EnvironmentFiles(folder).lock))
    except (OSError, ValueError):
        return None


def read_lock(home: Home) -> EnvironmentLock | None:
    """What is installed, even if the environment is damaged or the file that names it is lost."""
    folder = current_folder(home)
    if folder is not None:
        return lock(folder)
    found = newest(home)
    return None if found is None else found.lock


def _whole(folder: Path) -> Environment:
    """The environment in a folder. SetupError if a part is missing or broken."""
    parts, kept = EnvironmentFiles(folder), lock(folder)
    if kept is None:
        raise SetupError(f"the environment is damaged: {parts.lock} can't be read", ANEW)
    try:
        OptionTable.load(parts.options)
    except (OSError, ValueError) as error:
        raise SetupError(f"the environment is damaged: {parts.options} can't be read", _MENDED) from error
    scripts = [parts.checkout / name for name in sorted({kind.script for kind in EVERYWHERE})]
    scripts.append(parts.checkout / "networks" / "lora.py")  # an emptied checkout keeps its folders
    gone = [path for path in scripts if not files.is_file(path)]
    gone += [path for path in (parts.checkout / "library", parts.venv) if not files.is_folder(path)]
    if gone:
        raise SetupError(f"the environment is damaged: {gone[0]} is missing", ANEW if gone == [parts.venv] else _MENDED)
    if not (files.is_file(parts.python) and os.access(parts.python, os.X_OK)):
        raise SetupError(f"the environment is damaged: {parts.python} can't be run", ANEW)
    if kept.existing is not None:
        existing_torch.require_unchanged(kept.existing)
    return Environment(folder=folder, lock=kept)


def abilities(installed: Environment) -> Abilities:
    """What setup recorded. Asks now if setup did not, or if our scripts have changed since."""
    recorded = installed.lock.abilities
    return recorded if recorded is not None and recorded.asked_by == _digest() else ask_abilities(installed)


def ask_abilities(place: Environment | EnvironmentFiles) -> Abilities:
    """Try what the installed trainer can do. SetupError if that can't be found out."""
    scaled, resumed, counted = (run_script(place, script, "--check")["reason"] for script in _CHECKING)
    return Abilities(not_scaled=scaled, not_resumed=resumed, full_not_resumed=counted, asked_by=_digest())


_CHECKING = ("scaled.py", "resumed.py", "counted.py")


def _digest() -> str:
    return hashlib.sha256(b"".join((INSIDE / script).read_bytes() for script in _CHECKING)).hexdigest()


def run_script(place: Environment | EnvironmentFiles, script: str, *arguments: str) -> dict[str, Any]:
    """Run one of our scripts in the environment and return its JSON. SetupError if it fails."""
    argv = [str(place.python), str(INSIDE / script), *arguments]
    cwd = place.checkout if files.is_folder(place.checkout) else place.folder
    try:
        answer = process.run(argv, cwd=cwd, env=training_variables())
        if answer.code != 0:
            words = answer.stderr.strip().splitlines() or [f"exit code {answer.code}"]
            raise SetupError(f"the environment does not work: {words[-1]}", _OTHER_BUILD)
        facts = files.parse_json(answer.stdout)
    except (OSError, ValueError) as error:
        raise SetupError(f"the environment does not work: {script}: {error}", ANEW) from error
    if not isinstance(facts, dict):
        raise SetupError(f"the environment does not work: {script} printed no JSON object", ANEW)
    return facts


_OTHER_BUILD = "see `sdxl-train setup --help` for --torch"


def training_variables() -> dict[str, str]:
    """Environment variables for all processes of the training side."""
    kept = {name: value for name, value in os.environ.items() if name not in _HARMFUL}
    return {**kept, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}


_HARMFUL = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__", "PYTHONSAFEPATH", "PYTHONIOENCODING",
            "PYTHONDONTWRITEBYTECODE")  # fmt: skip
"""Variables that would let the CLI's or the user's packages into the isolated environment, hide sd-scripts' own
packages, end a run at a printed character, or (the last one) make every run compile torch's Python again, 10 seconds
each time.
"""
