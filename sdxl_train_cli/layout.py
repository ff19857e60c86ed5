"""Where things live on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

APP = "sdxl-train"
PROJECT_FILE = "sdxl-train.yaml"
"""The project file of the current folder."""


@dataclass(frozen=True)
class Home:
    """The folder that holds what setup installs: SDXL_TRAIN_HOME, or the platform's folder for user data."""

    path: Path

    @classmethod
    def find(cls, typed: Path | None, environ: Mapping[str, str]) -> Home:
        """Take what was typed, then SDXL_TRAIN_HOME, then the platform's place."""
        chosen = typed or environ.get("SDXL_TRAIN_HOME") or platformdirs.user_data_path(APP, appauthor=False)
        return cls(expand(Path(chosen)))

    @property
    def marker(self) -> Path:
        """What tells a home from any other folder."""
        return self.path / ".sdxl-train-home"

    @property
    def environments(self) -> Path:
        """One folder for each environment, the one in use and perhaps one that is being built."""
        return self.path / "environments"

    @property
    def current(self) -> Path:
        """The one small file that says which environment counts."""
        return self.path / "current"

    @property
    def setup_lock(self) -> Path:
        """Held while an environment is made."""
        return self.path / "setup.lock"

    @property
    def setup_log(self) -> Path:
        """All that the last setup's tools printed."""
        return self.path / "setup.log"

    @property
    def tokenizers(self) -> Path:
        """The two CLIP tokenizers, fetched by sd-scripts at the first run."""
        return self.path / "tokenizers"

    @property
    def taggers(self) -> Path:
        """The models that tag pictures, fetched by sd-scripts' own tagger."""
        return self.path / "taggers"

    @property
    def tagger_log(self) -> Path:
        """All that the last tagging printed."""
        return self.path / "tagger.log"

    @property
    def measurements(self) -> Path:
        """What finished runs took, one line each."""
        return self.path / "measurements.jsonl"

    @property
    def parts(self) -> tuple[Path, ...]:
        """All that we ever put into it."""
        return (self.marker, self.environments, self.current, self.setup_lock, self.setup_log, self.tokenizers,
                self.taggers, self.tagger_log, self.measurements)  # fmt: skip


def config_folder(environ: Mapping[str, str]) -> Path:
    """The user's own settings and presets: SDXL_TRAIN_CONFIG, or the platform's place for them."""
    chosen = environ.get("SDXL_TRAIN_CONFIG") or platformdirs.user_config_path(APP, appauthor=False)
    return expand(Path(chosen))


def user_presets(environ: Mapping[str, str]) -> Path:
    """The user's own presets."""
    return config_folder(environ) / "presets"


def cache_folder(environ: Mapping[str, str]) -> Path:
    """What may be deleted at any time: SDXL_TRAIN_CACHE, or the platform's place for it."""
    chosen = environ.get("SDXL_TRAIN_CACHE") or platformdirs.user_cache_path(APP, appauthor=False)
    return expand(Path(chosen))


def expand(path: Path) -> Path:
    """The absolute path, `~` resolved; `~name` is a plain name where there is no such user."""
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        return path.absolute()
