"""Where the tests marked `upstream` take the real sd-scripts from, or None."""

from __future__ import annotations

import os
import subprocess

from sdxl_train_cli import layout
from sdxl_train_cli.recipes import project


def find() -> str | None:
    """SDXL_TRAIN_SOURCE, else `source:` in the user's config file, if git can list it; never the default address."""
    source = os.environ.get("SDXL_TRAIN_SOURCE") or project.load_config(layout.config_folder(os.environ)).source
    if not source:
        return None
    listed = subprocess.run(["git", "ls-remote", "--heads", source], check=False, capture_output=True)
    return source if listed.returncode == 0 else None
