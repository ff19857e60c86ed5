"""`sdxl-train file extract`: what a trained checkpoint learned, as a LoRA."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import formatting, layout
from sdxl_train_cli.commands import values, workspace
from sdxl_train_cli.commands.file import options
from sdxl_train_cli.commands.file.options import DryRun, Force, Json, Output
from sdxl_train_cli.commands.workspace import HomeOption
from sdxl_train_cli.environment import environment
from sdxl_train_cli.lora_files import extracting, handed, output, result
from sdxl_train_cli.lora_files.extracting import Extraction
from sdxl_train_cli.lora_files.tools import Tools
from sdxl_train_cli.ui import console

Tuned = Annotated[Path, typer.Argument(metavar="FILE", help="The trained checkpoint")]
Base = Annotated[Path, typer.Option("--base", metavar="FILE", help="The checkpoint that it was trained from")]
Rank = Annotated[
    int,
    values.whole(
        "--rank",
        "-r",
        metavar="RANK",
        most=extracting.MOST_RANK,
        about="Rank of the LoRA: 64 keeps more, 16 is smaller",
    ),
]
ConvRank = Annotated[
    int | None,
    values.whole(
        "--conv-rank",
        metavar="RANK",
        most=extracting.MOST_RANK,
        about="Convolutions too, at this rank [default: none of them]",
    ),
]
Dtype = Annotated[
    str | None, typer.Option("--dtype", metavar="TYPE", help="Type of its numbers: fp16, bf16 or float [default: fp16]")
]
_USUAL_RANK = 32


def extract(
    file: Tuned, base: Base, rank: Rank = _USUAL_RANK, conv_rank: ConvRank = None, to: Output = None,
    dtype: Dtype = None, force: Force = False, dry_run: DryRun = False, as_json: Json = False, home: HomeOption = None,
) -> None:  # fmt: skip
    """Take what a checkpoint learned beside its base as a LoRA."""
    tuned = handed.open_checkpoint(layout.expand(file), "the trained checkpoint comes first")
    trained_from = handed.open_checkpoint(layout.expand(base), "--base takes the checkpoint that it was trained from")
    wanted = Extraction(tuned, trained_from, rank, conv_rank, options.precision(dtype) or "fp16")
    extracting.require(wanted)
    path = output.choose(to, tuned.path, f"rank{rank}", [tuned.path, trained_from.path], force=force)
    where = workspace.home(home)
    tools = Tools(environment.require(where), where)
    tools.require(extracting.SCRIPT)
    output.require_room(path, tuned.size_bytes // 8)
    if dry_run:
        options.tell_plan(path, f"rank {rank} of what {tuned.path.name} has learned", as_json=as_json)
        return
    console.note(f"both models are loaded: {formatting.size(extracting.memory_bytes(wanted))} of memory at least")
    with console.progress_bar("extracting") as tell:
        extracting.extract(tools, wanted, path, tell)
    options.tell(result.examine(path, tools.installed), {}, as_json=as_json)
