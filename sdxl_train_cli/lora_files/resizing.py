"""Give a LoRA a smaller rank, through sd-scripts' networks/resize_lora.py.

Each module's product is decomposed, and the largest singular values stay: the nearest that a smaller rank can come.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.inspection import model_file
from sdxl_train_cli.lora_files import comparing, handed, rewriting
from sdxl_train_cli.lora_files.comparing import SumNorms
from sdxl_train_cli.lora_files.handed import HandedFile
from sdxl_train_cli.lora_files.tools import Tell, Tools
from sdxl_train_cli.sdscripts import checkpoint

SCRIPT = "networks/resize_lora.py"
_SHIM = "quick_svd.py"
_INSTEAD = "train it again with a smaller network_dim; inspect shows its rank"


@dataclass(frozen=True)
class Smaller:
    """How much smaller: a rank, or a share of each module's energy."""

    precision: str
    """Of the new file, by sd-scripts' name."""
    rank: int | None
    conv_rank: int | None = None
    energy: float | None = None

    @property
    def ending(self) -> str:
        """What the new file's name ends in."""
        return f"rank{self.rank}" if self.rank is not None else f"energy{self.energy:g}"


@dataclass(frozen=True)
class Ranks:
    """The highest ranks of a network: of its linear layers, and of its convolutions."""

    linear: int
    conv: int | None


def ranks(found: HandedFile) -> Ranks:
    """The ranks of a network, as resize_lora.py tells them apart."""
    linear, conv = 0, 0
    for module, rank in model_file.ranks_by_module(found.header).items():
        if len(found.header.shapes.get(f"{module}.lora_down.weight", ())) > 2:  # noqa: PLR2004 - a kernel's sides
            conv = max(conv, rank)
        else:
            linear = max(linear, rank)
    return Ranks(linear or conv, conv or None)


def require_size(rank: int | None, energy: float | None) -> None:
    """UsageError unless one of the two says how small."""
    if rank is None and energy is None:
        raise UsageError("how small is not said", "--rank 16, or --energy 0.95")
    if rank is not None and energy is not None:
        raise UsageError("--rank and --energy both say how small", "leave one of them out")


def require(found: HandedFile, wanted: Smaller) -> None:
    """ModelError for a file that can't be resized, UsageError for a rank that is none smaller."""
    handed.require_sdxl(found)
    handed.require_factors(found, "be resized", _INSTEAD)
    handed.require_kohya_names(found)
    there = ranks(found)
    if wanted.conv_rank is not None and there.conv is None:
        raise UsageError("it has no convolutions", "leave --conv-rank out")
    if wanted.conv_rank is not None and there.conv is not None and wanted.conv_rank > there.conv:
        raise UsageError(f"the rank of its convolutions is {there.conv} already", f"--conv-rank {there.conv}")
    most = max(there.linear, there.conv or 0)
    if wanted.rank is not None and wanted.rank >= most:
        smaller = f"--rank {most // 2}" if most > 1 else None
        raise UsageError(f"its rank is {most} already: resizing only goes down", smaller)


def resize(tools: Tools, found: HandedFile, wanted: Smaller, target: Path, tell: Tell) -> None:
    """Write the smaller file, whole or not at all. ModelError if the tool fails."""
    there = ranks(found)
    linear = min(wanted.rank or there.linear, there.linear)
    conv = min(wanted.conv_rank or wanted.rank or there.conv or linear, there.conv or linear)
    words = [
        _SHIM, str(max(there.linear, there.conv or 0)), SCRIPT, f"--model={found.path}",
        f"--save_precision={wanted.precision}",
        f"--new_rank={linear}", f"--new_conv_rank={conv}",
    ]  # fmt: skip
    if wanted.energy is not None:  # sv_fro takes a share of the norm, whose square is the energy
        words += ["--dynamic_method=sv_fro", f"--dynamic_param={math.sqrt(wanted.energy):.9f}"]
    with files.made_whole(target) as made:
        tools.run([*words, f"--save_to={made}"], tell)
        rewriting.write(made, made, _metadata(made, found, None if there.conv is None else conv, wanted))


def lost(tools: Tools, source: Path, made: Path) -> SumNorms:
    """What the smaller file has lost of the source, measured from both."""
    return comparing.compare(tools.installed, made, [(1.0, source)])


def _metadata(made: Path, source: HandedFile, conv: int | None, wanted: Smaller) -> dict[str, str]:
    """What the tool wrote, with the conv rank that it leaves as it was, and without its note in the comment."""
    metadata = dict(checkpoint.read_header(made).metadata)
    arguments = _arguments(metadata.get("ss_network_args"))
    if conv is not None and "conv_dim" in arguments:
        before = float(str(arguments.get("conv_alpha", arguments["conv_dim"]))) / float(str(arguments["conv_dim"]))
        told = "Dynamic" if wanted.energy is not None else str(conv)
        alpha = "Dynamic" if wanted.energy is not None else str(before * conv)
        metadata["ss_network_args"] = json.dumps({**arguments, "conv_dim": told, "conv_alpha": alpha})
    if not source.model.metadata:
        metadata = {key: text for key, text in metadata.items() if not key.startswith("sshs_")}
    return metadata


def _arguments(text: str | None) -> dict[str, object]:
    try:
        found = files.parse_json(text or "")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
