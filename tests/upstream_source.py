"""Where the tests marked `upstream` take the real sd-scripts from, and the environment that they share."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

from sdxl_train_cli import layout
from sdxl_train_cli.recipes import user_config
from sdxl_train_cli.sdscripts import known_releases

RELEASE = "SDXL_TRAIN_UPSTREAM_REF"
"""The variable with the release to test; without it, the newest known one that the source has."""
SHARED = "SDXL_TRAIN_TESTS_SHARED"
"""The variable with the folder that all workers of one test run share."""


def find() -> str | None:
    """SDXL_TRAIN_SOURCE, else `source:` in the user's config file, if git can list it; never the default address."""
    source = os.environ.get("SDXL_TRAIN_SOURCE") or user_config.load(layout.config_folder(os.environ)).source
    if not source:
        return None
    listed = subprocess.run(["git", "ls-remote", "--heads", source], check=False, capture_output=True)
    return source if listed.returncode == 0 else None


def releases(source: str) -> list[str]:
    """The known releases that a source has, the newest first: a folder by their commits, an address by its tags."""
    if not Path(source).exists():
        listed = subprocess.run(["git", "ls-remote", "--tags", source], check=False, capture_output=True, text=True)
        return [one.name for one in known_releases.load() if f"refs/tags/{one.name}\n" in listed.stdout]
    asked = {
        one.name: ["git", "-C", source, "cat-file", "-e", f"{one.commit}^{{commit}}"] for one in known_releases.load()
    }
    return [
        name for name, argv in asked.items() if subprocess.run(argv, check=False, capture_output=True).returncode == 0
    ]


@functools.cache
def home() -> Path:
    """A home with the real environment and LyCORIS, several GB: SDXL_TRAIN_UPSTREAM_HOME, else made once for all tests.

    The workers of a test run wait for the first one to make it. No test changes what setup has made.
    """
    if ready := os.environ.get("SDXL_TRAIN_UPSTREAM_HOME"):
        return Path(ready)
    shared = Path(os.environ[SHARED])
    made = shared / "home мир [1]"
    with FileLock(shared / "setup.lock"):
        if not (made / "current").exists():
            argv = [sys.executable, "-m", "sdxl_train_cli.cli", "setup", "--home", str(made), "--extra", "lycoris"]
            argv += ["--ref", os.environ[RELEASE]] if os.environ.get(RELEASE) else []
            done = subprocess.run([*argv, "--source", str(find())], check=False, capture_output=True, encoding="utf-8")
            assert done.returncode == 0, done.stderr
    return made
