"""The folder of runs that a project file names. Without such a file, no parser of YAML is imported."""

from __future__ import annotations

from pathlib import Path

from sdxl_train_cli.layout import PROJECT_FILE


def load(folder: Path) -> str | None:
    """What the folder's project file names. None without one. RecipeError if it can't be read."""
    if not (folder / PROJECT_FILE).is_file():
        return None
    from sdxl_train_cli.recipes import project  # noqa: PLC0415 - as above

    return project.load(folder).output
