"""Locations of files on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

APP = "sdxl-train"
PROJECT_FILE = "sdxl-train.yaml"
"""Name of the project file in the current folder."""


@dataclass(frozen=True)
class Home:
    """The folder that holds what setup installs: SDXL_TRAIN_HOME, or the platform's folder for user data."""

    path: Path
    chosen: str | None = None
    """Name of an environment to use in place of the current one, without a change on disk."""

    @classmethod
    def find(cls, typed: Path | None, environ: Mapping[str, str]) -> Home:
        """Use what was typed, else SDXL_TRAIN_HOME, else the platform's folder for user data."""
        chosen = typed or environ.get("SDXL_TRAIN_HOME") or platformdirs.user_data_path(APP, appauthor=False)
        return cls(expand(Path(chosen)))

    @property
    def marker(self) -> Path:
        """The file that marks a folder as a home."""
        return self.path / ".sdxl-train-home"

    @property
    def environments(self) -> Path:
        """One folder for each environment: the current one, and any that is being built."""
        return self.path / "environments"

    @property
    def current(self) -> Path:
        """The small file that names the current environment."""
        return self.path / "current"

    @property
    def previous(self) -> Path:
        """The small file that names the environment that was current before."""
        return self.path / "previous"

    @property
    def setup_lock(self) -> Path:
        """Locked while an environment is being built."""
        return self.path / "setup.lock"

    @property
    def setup_log(self) -> Path:
        """The full output of the last setup."""
        return self.path / "setup.log"

    @property
    def tokenizers(self) -> Path:
        """The two CLIP tokenizers, downloaded by sd-scripts on the first run."""
        return self.path / "tokenizers"

    @property
    def taggers(self) -> Path:
        """Tagger models, downloaded by sd-scripts' own tagger."""
        return self.path / "taggers"

    @property
    def tagger_log(self) -> Path:
        """The full output of the last tagging."""
        return self.path / "tagger.log"

    @property
    def tool_log(self) -> Path:
        """The full output of the last tool that changed a file."""
        return self.path / "tool.log"

    @property
    def measurements(self) -> Path:
        """What finished runs measured, one line each."""
        return self.path / "measurements.jsonl"

    @property
    def queue(self) -> Path:
        """The queue of trainings, its jobs' output and its worker's lock."""
        return self.path / "queue"

    @property
    def cluster(self) -> Path:
        """What was submitted to Slurm, one folder for each submission."""
        return self.path / "cluster"

    @property
    def sweeps(self) -> Path:
        """Records of sweeps, one folder each."""
        return self.path / "sweeps"

    @property
    def parts(self) -> tuple[Path, ...]:
        """Every path that we ever create in a home."""
        return (self.marker, self.environments, self.current, self.previous, self.setup_lock, self.setup_log,
                self.tokenizers, self.taggers, self.tagger_log, self.tool_log, self.measurements,
                self.queue, self.cluster, self.sweeps)  # fmt: skip


def config_folder(environ: Mapping[str, str]) -> Path:
    """The user's settings and presets: SDXL_TRAIN_CONFIG, or the platform's config folder."""
    chosen = environ.get("SDXL_TRAIN_CONFIG") or platformdirs.user_config_path(APP, appauthor=False)
    return expand(Path(chosen))


def user_presets(environ: Mapping[str, str]) -> Path:
    """The user's own presets."""
    return config_folder(environ) / "presets"


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Files that may be deleted at any time: SDXL_TRAIN_CACHE, or the platform's cache folder."""
    chosen = environ.get("SDXL_TRAIN_CACHE") or platformdirs.user_cache_path(APP, appauthor=False)
    return expand(Path(chosen))


def as_typed(path: Path) -> Path:
    """The shortest way to type a path: from the current folder where it lies in it."""
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path


def expand(path: Path) -> Path:
    """The absolute path with `~` resolved. `~name` is a plain name if there is no such user."""
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        return path.absolute()
