"""`sdxl-train file convert`: a LoRA under other names, or a file in another precision."""

from __future__ import annotations

from typing import Annotated

import typer

from sdxl_train_cli import formatting
from sdxl_train_cli.commands import workspace
from sdxl_train_cli.commands.file import options
from sdxl_train_cli.commands.file.options import DryRun, File, Force, Json, Output, Precision
from sdxl_train_cli.commands.workspace import HomeOption
from sdxl_train_cli.environment import environment
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.lora_files import alphas, converting, handed, output, plans, result
from sdxl_train_cli.lora_files.handed import HandedFile
from sdxl_train_cli.lora_files.plans import AssemblyPlan
from sdxl_train_cli.lora_files.tools import Tools
from sdxl_train_cli.ui import console

Names = Annotated[
    str | None, typer.Option("--to", metavar="PROGRAM", help="Whose names a LoRA gets: kohya, diffusers or comfyui")
]


def convert(
    file: File, to: Names = None, dtype: Precision = None, output_file: Output = None, force: Force = False,
    dry_run: DryRun = False, as_json: Json = False, home: HomeOption = None,
) -> None:  # fmt: skip
    """Give a LoRA other programs' names, or a file another precision."""
    precision = options.precision(dtype)
    found = handed.open_model(options.path(file))
    plan, ending = _plan(found, to, precision)
    path = output.choose(output_file, found.path, ending, [found.path], force=force)
    where = workspace.home(home)
    tools = Tools(environment.require(where), where)
    output.require_room(path, plans.planned_bytes(plan, [found]))
    if to is not None and alphas.METADATA in plan.metadata:
        console.note("its layers have unlike ranks: diffusers before 0.34 takes some of them at another strength")
    if dry_run:
        options.tell_plan(path, formatting.counted(len(plan.tensors), "tensor"), as_json=as_json)
        return
    with console.progress_bar("converting") as tell:
        plans.carry_out(tools, plan, path, tell)
    options.tell(result.examine(path, tools.installed), {}, as_json=as_json)


def _plan(found: HandedFile, to: str | None, precision: str | None) -> tuple[AssemblyPlan, str]:
    if to is not None:
        naming = converting.require_naming(to)
        network = handed.open_network(found.path, "rename")
        return converting.plan_names(network, naming, precision), naming.value
    if precision is None:
        raise UsageError("what to convert to is not said", "--to diffusers, or --dtype fp16")
    return converting.plan_precision(found, precision), precision
