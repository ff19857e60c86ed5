"""What the shell offers on Tab: presets, runs and their checkpoints. A broken file offers nothing, and says nothing."""

from __future__ import annotations

from pathlib import Path

import typer

from sdxl_train_cli.commands import workspace
from sdxl_train_cli.errors import SdxlTrainError
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.records import history, run_list
from sdxl_train_cli.sdscripts import results


def preset_names(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Presets that begin so, of the command's kind or of all, with their descriptions."""
    try:
        found = presets.list_presets(_kind(context), workspace.user_presets())
    except (SdxlTrainError, OSError):
        return []
    return [(preset.name, preset.description) for preset in found if preset.name.startswith(incomplete)]


def run_names(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Runs that begin so, newest first, with their states."""
    typed = context.params.get("output")
    try:
        found = run_list.entries(workspace.output(Path(typed) if typed else None))
    except (SdxlTrainError, OSError):
        return []
    return [(entry.folder_name, entry.state.value) for entry in found if entry.folder_name.startswith(incomplete)]


def checkpoints(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The files of the command's run, each by what `--checkpoint` takes, and when it was saved."""
    try:
        entry = history.find(str(context.params.get("run") or ""), workspace.output(None))
        made = results.checkpoints(entry.folder, entry.name)
    except (SdxlTrainError, OSError):
        return []
    found = [("best", "the one that `sdxl-train best` names"), *((each.path.name, each.moment) for each in made)]
    return [(name, moment) for name, moment in found if name.startswith(incomplete)]


def _kind(context: typer.Context) -> Kind | None:
    known = {kind.value: kind for kind in Kind}
    return known.get(str(context.params.get("kind"))) or known.get(str(context.command.name))
