"""`sdxl-train presets schema`: completion and validation of presets in an editor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import files
from sdxl_train_cli.commands import workspace
from sdxl_train_cli.commands.presets import listing
from sdxl_train_cli.commands.workspace import HomeOption, KindFilter
from sdxl_train_cli.environment import environment
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import json_schema, presets
from sdxl_train_cli.ui import console

Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="File for the schema [default: print it]")
]


def schema(kind: KindFilter = None, output: Output = None, home: HomeOption = None) -> None:
    """Write a JSON Schema of presets, for editors."""
    table = environment.option_table(workspace.home(home))
    if table.release:
        console.note(f"built from the options of sd-scripts {table.release}; after setup it has their descriptions too")
    names = {one: presets.names(one, workspace.user_presets()) for one in Kind}
    text = json.dumps(json_schema.build(table, listing.find_kind(kind), names), indent=1, ensure_ascii=False)
    if output is None:
        console.note(
            "to use it in your editor, write it to a file: sdxl-train presets schema --output preset.schema.json"
        )
        console.document(text)
        return
    try:
        with files.made_parent(output):
            files.write(output, text + "\n")
    except OSError as error:
        raise UsageError(f"{output} can't be written: {error.strerror}", "give --output a file") from error
    console.note(
        "put this line at the top of a preset; VS Code needs its YAML extension, other editors yaml-language-server:"
    )
    console.note(f"# yaml-language-server: $schema={output.resolve().as_uri()}")
    console.out(str(output))
