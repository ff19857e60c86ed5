"""`sdxl-train init`: a commented project file in the current folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli.commands.train import Data, Model, Name, Output, Preset, Trigger

KindOption = Annotated[str, typer.Option("--kind", help="lora, locon, loha, lokr or dreambooth")]


def init(
    kind: KindOption = "lora", preset: Preset = None, model: Model = None, data: Data = None, output: Output = None,
    name: Name = None, trigger: Trigger = None,
) -> None:  # fmt: skip
    """Write a project file for this folder."""
    from sdxl_train_cli import checkpoint, choice, console, project
    from sdxl_train_cli.errors import UsageError
    from sdxl_train_cli.recipe import Kind

    kinds = {one.value: one for one in Kind}
    if kind not in kinds:
        raise UsageError(f"no kind '{kind}'", f"one of: {', '.join(kinds)}")
    optional = {"name": name, "trigger": trigger}
    texts = {
        "kind": kind,
        "preset": preset or choice.DEFAULT_PRESETS[kinds[kind]],
        "model": model or checkpoint.SDXL_BASE,
        "data": data or choice.DEFAULT_DATA,
        "output": output or choice.DEFAULT_OUTPUT,
        **{key: text for key, text in optional.items() if text is not None},
    }
    console.out(str(project.write_template(Path.cwd(), texts)))
