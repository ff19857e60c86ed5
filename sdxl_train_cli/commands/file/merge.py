"""`sdxl-train file merge`: several LoRAs into one, or into a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import files, formatting, layout
from sdxl_train_cli.commands import values, workspace
from sdxl_train_cli.commands.file import options
from sdxl_train_cli.commands.file.options import DryRun, Force, Json, Precision
from sdxl_train_cli.commands.workspace import HomeOption
from sdxl_train_cli.environment import environment
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.lora_files import comparing, handed, merging, output, plans, resizing, result
from sdxl_train_cli.lora_files.handed import HandedFile
from sdxl_train_cli.lora_files.merging import Ingredient, MergeIntoBase
from sdxl_train_cli.lora_files.resizing import Smaller
from sdxl_train_cli.lora_files.tools import Tools
from sdxl_train_cli.ui import console

Parts = Annotated[
    list[str], typer.Argument(metavar="FILE[:RATIO]", help="LoRAs, each with how much of it [default: 1]")
]
Into = Annotated[
    Path | None, typer.Option("--into", metavar="FILE", help="Merge into this checkpoint instead of into one LoRA")
]
Rank = Annotated[
    int | None,
    values.whole(
        "--rank", "-r", metavar="RANK", about="Rank of the new LoRA [default: all of theirs, so that nothing is lost]"
    ),
]
To = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="The new file [default: beside the first, as merged]"),
]
_ENDING = "merged"


def merge(
    parts: Parts, into: Into = None, rank: Rank = None, to: To = None, dtype: Precision = None, force: Force = False,
    dry_run: DryRun = False, as_json: Json = False, home: HomeOption = None,
) -> None:  # fmt: skip
    """Merge LoRAs into one, exactly, or into a checkpoint."""
    found = [_ingredient(part) for part in parts]
    base = None if into is None else handed.open_checkpoint(layout.expand(into), "--into takes the base")
    _require(found, base, rank)
    inputs = [*(each.file.path for each in found), *([base.path] if base else [])]
    path = output.choose(to, inputs[0], _ENDING, inputs, force=force)
    where = workspace.home(home)
    tools = Tools(environment.require(where), where)
    for problem in merging.warnings(found):
        console.warn(problem)
    precision = options.precision(dtype) or (base or found[0].file).precision
    if base is not None:
        _into(tools, base, found, path, precision, dry_run=dry_run, as_json=as_json)
    else:
        _together(tools, found, path, precision, rank, dry_run=dry_run, as_json=as_json)


def _ingredient(text: str) -> Ingredient:
    path, ratio = merging.parse(text)
    return Ingredient(handed.open_network(layout.expand(path), "merge"), ratio)


def _require(found: Sequence[Ingredient], base: HandedFile | None, rank: int | None) -> None:
    merging.require(found)
    if base is None and len(found) == 1:
        raise UsageError("there is one LoRA to merge", "name another, or the checkpoint that it goes into: --into FILE")
    if base is not None and rank is not None:
        raise UsageError("a checkpoint has no rank", "leave --rank out")
    if rank is not None:
        merging.require_rank(found, rank)


def _into(
    tools: Tools, base: HandedFile, found: Sequence[Ingredient], path: Path, precision: str, *,
    dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    tools.require(merging.INTO_SCRIPT)
    output.require_room(path, base.size_bytes * (2 if precision == "float" and base.precision != "float" else 1))
    if dry_run:
        options.tell_plan(
            path, f"{base.path.name} with {formatting.counted(len(found), 'LoRA')} in it", as_json=as_json
        )
        return
    console.note("the whole model is loaded in 32 bits: SDXL takes about 14 GB of memory")
    with console.progress_bar("merging") as tell:
        merging.merge_into(tools, MergeIntoBase(base, found, precision), path, tell)
    options.tell(result.examine(path, tools.installed, base.path), {}, as_json=as_json)


def _together(
    tools: Tools, found: Sequence[Ingredient], path: Path, precision: str, rank: int | None, *,
    dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    plan = merging.plan_sum(found, path.stem, "float" if rank is not None else precision)
    output.require_room(path, plans.planned_bytes(plan, [each.file for each in found]))
    if dry_run:
        modules = formatting.counted(len(plan.numbers), "module")
        options.tell_plan(path, f"{len(found)} LoRAs, {modules}", as_json=as_json)
        return
    with files.made_whole(path) as made:
        with console.progress_bar("merging") as tell:
            plans.carry_out(tools, plan, made, tell)
        if rank is not None:
            _reduce(tools, made, Smaller(precision, rank))
    sums = comparing.compare(tools.installed, path, [(each.ratio, each.file.path) for each in found])
    if not as_json:
        console.note(f"what it adds differs by {100 * sums.relative_error:.2g} % from the sum of the LoRAs")
    options.tell(result.examine(path, tools.installed), {"relative_error": sums.relative_error}, as_json=as_json)


def _reduce(tools: Tools, made: Path, wanted: Smaller) -> None:
    """Give the exact sum the rank that was asked for."""
    whole = handed.open_network(made, "merge")
    with console.progress_bar("resizing") as tell:
        resizing.resize(tools, whole, wanted, made, tell)
