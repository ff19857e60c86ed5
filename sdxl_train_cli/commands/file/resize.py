"""`sdxl-train file resize`: give a LoRA a smaller rank, and say what is lost."""

from __future__ import annotations

from typing import Annotated

from sdxl_train_cli.commands import values, workspace
from sdxl_train_cli.commands.file import options
from sdxl_train_cli.commands.file.options import DryRun, File, Force, Json, Output, Precision
from sdxl_train_cli.commands.workspace import HomeOption
from sdxl_train_cli.environment import environment
from sdxl_train_cli.lora_files import handed, output, resizing, result
from sdxl_train_cli.lora_files.comparing import SumNorms
from sdxl_train_cli.lora_files.resizing import Smaller
from sdxl_train_cli.lora_files.tools import Tools
from sdxl_train_cli.ui import console

_LEAST_ENERGY = 0.01
Rank = Annotated[int | None, values.whole("--rank", "-r", metavar="RANK", about="The new rank of every module")]
ConvRank = Annotated[
    int | None, values.whole("--conv-rank", metavar="RANK", about="That of convolutions [default: --rank]")
]
Energy = Annotated[
    float | None,
    values.number("--energy", metavar="SHARE", example="0.95", least=_LEAST_ENERGY, most=1,
                  about="Instead: as small as keeps this share of each module, such as 0.95"),
]  # fmt: skip


def resize(
    file: File, rank: Rank = None, conv_rank: ConvRank = None, energy: Energy = None, to: Output = None,
    dtype: Precision = None, force: Force = False, dry_run: DryRun = False, as_json: Json = False,
    home: HomeOption = None,
) -> None:  # fmt: skip
    """Give a LoRA or LoCon a smaller rank, and say what is lost."""
    resizing.require_size(rank, energy)
    found = handed.open_network(options.path(file), "resize")
    wanted = Smaller(options.precision(dtype) or found.precision, rank, conv_rank, energy)
    resizing.require(found, wanted)
    path = output.choose(to, found.path, wanted.ending, [found.path], force=force)
    where = workspace.home(home)
    tools = Tools(environment.require(where), where)
    tools.require(resizing.SCRIPT)
    output.require_room(path, found.size_bytes)
    if dry_run:
        options.tell_plan(
            path, f"{resizing.ranks(found).linear} to {rank or f'{energy:g} of the energy'}", as_json=as_json
        )
        return
    with console.progress_bar("resizing") as tell:
        resizing.resize(tools, found, wanted, path, tell)
    lost = resizing.lost(tools, found.path, path)
    if not as_json:
        _tell(lost)
    options.tell(result.examine(path, tools.installed), _facts(lost), as_json=as_json)


def _tell(lost: SumNorms) -> None:
    worst = lost.worst
    console.note(f"lost: {_percent(lost.lost)} of its energy; its norm went from {lost.wanted:.3g} to {lost.made:.3g}")
    if worst is not None and worst.lost > 0:
        console.note(f"most in one module: {_percent(worst.lost)}, {worst.module}")


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


def _facts(lost: SumNorms) -> dict[str, object]:
    return {
        "lost": lost.lost,
        "norm_before": lost.wanted,
        "norm": lost.made,
        "modules": [{"module": one.module, "lost": one.lost} for one in lost.modules],
    }
