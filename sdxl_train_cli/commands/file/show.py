"""`sdxl-train file show`: what a file says of itself."""

from __future__ import annotations

from typing import Annotated

import typer

from sdxl_train_cli import formatting
from sdxl_train_cli.commands import home_option
from sdxl_train_cli.commands.file import options
from sdxl_train_cli.commands.file.options import File, Json
from sdxl_train_cli.commands.home_option import HomeOption
from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import SetupError
from sdxl_train_cli.inspection import weight_facts
from sdxl_train_cli.inspection.weight_facts import WeightFacts
from sdxl_train_cli.lora_files import about, blocks, handed, scrubbing, traces
from sdxl_train_cli.lora_files.handed import HandedFile
from sdxl_train_cli.ui import console, file_facts

Raw = Annotated[bool, typer.Option("--raw", help="Print all metadata as it stands, the JSON in it unfolded")]


def show(file: File, raw: Raw = False, as_json: Json = False, home: HomeOption = None) -> None:
    """Show what a file says of itself: title, words, settings."""
    found = handed.open_model(options.path(file))
    if raw:
        console.document(about.raw(found.model.metadata))
        return
    ranks = blocks.ranks(found.header) if found.model.is_network else ()
    weights = _weights(found, environment.find(home_option.home(home))) if found.model.is_network else None
    told = about.rows(found.model)
    telling = scrubbing.scrub(found.model.metadata, traces.names_here())
    if as_json:
        norms = file_facts.norms_by_block(weights)
        console.data({
            "path": str(found.path),
            "about": dict(told),
            "tags": [{"tag": tag, "count": count} for tag, count in about.tags(found.model.metadata)],
            "blocks": [
                {"part": one.part, "block": one.block, "modules": one.modules, "ranks": list(one.ranks),
                 "norm": norms.get((one.part, one.block))} for one in ranks
            ],
            "metadata": dict(found.model.metadata),
            "telling": [change.key for change in (*telling.removed, *telling.changed)],
        })  # fmt: skip
        return
    file_facts.show(found.path.name, told or [("metadata", "none: the file says nothing of itself")], ranks, weights)
    if weights is not None and weights.nonfinite_tensors:
        broken = formatting.counted(weights.nonfinite_tensors, "tensor")
        console.note(f"not numbers alone: {broken}; sdxl-train inspect {formatting.shell_word(file)}")
    keys = [change.key for change in (*telling.removed, *telling.changed)]
    if keys:
        scrub = f"sdxl-train file edit {formatting.shell_word(file)} --scrub"
        tell = "tells" if len(keys) == 1 else "tell"
        console.note(
            f"{formatting.counted(len(keys), 'key')} {tell} of a person or a machine, such as {keys[0]}: {scrub}"
        )


def _weights(found: HandedFile, installed: Environment | None) -> WeightFacts | None:
    if installed is None or not installed.trains:
        return None
    try:
        return weight_facts.examine(installed, found.path)
    except SetupError:
        return None
