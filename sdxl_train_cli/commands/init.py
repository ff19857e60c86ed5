"""`sdxl-train init`: write a commented project file to the current folder."""

from __future__ import annotations

from pathlib import Path

from sdxl_train_cli.commands import workspace
from sdxl_train_cli.commands.train_options import Data, Model, Name, Output, Preset, Trigger
from sdxl_train_cli.commands.workspace import KindOption
from sdxl_train_cli.recipes import project
from sdxl_train_cli.run import run_choices
from sdxl_train_cli.sdscripts import checkpoint
from sdxl_train_cli.ui import console


def init(
    kind: KindOption = "lora", preset: Preset = None, model: Model = None, data: Data = None, output: Output = None,
    name: Name = None, trigger: Trigger = None,
) -> None:  # fmt: skip
    """Write a project file for any kind, without a question."""
    default = run_choices.DEFAULT_PRESETS[workspace.kind(kind)]
    optional = {"name": name, "trigger": trigger}
    texts = {
        "kind": kind,
        "preset": preset or default,
        "model": model or checkpoint.SDXL_BASE,
        "data": data or run_choices.DEFAULT_DATA,
        "output": output or run_choices.DEFAULT_OUTPUT,
        **{key: text for key, text in optional.items() if text is not None},
    }
    made = project.write_template(Path.cwd(), texts)
    console.note(f"next: look at it, then `sdxl-train {kind} --dry-run`, which shows what would be trained")
    console.out(str(made))
