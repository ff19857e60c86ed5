"""Take the difference of two checkpoints as a LoRA, through sd-scripts' networks/extract_lora_from_models.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.errors import ModelError, UsageError
from sdxl_train_cli.inspection import model_file
from sdxl_train_cli.lora_files import output
from sdxl_train_cli.lora_files.handed import HandedFile
from sdxl_train_cli.lora_files.tools import Tell, Tools

SCRIPT = "networks/extract_lora_from_models.py"
_SHIM = "quick_svd.py"
_ROUNDING = 0.01
"""A larger change of a number shows that a text encoder was trained, where all are rounded: the tool's own default."""
MOST_RANK = 1280
"""The narrower side of SDXL's largest layers: no module can have a higher rank."""
_U_NET = "model.diffusion_model."


@dataclass(frozen=True)
class Extraction:
    """What is extracted."""

    tuned: HandedFile
    base: HandedFile
    rank: int
    conv_rank: int | None
    precision: str


def require(wanted: Extraction) -> None:
    """UsageError for one file twice, ModelError for checkpoints whose U-Nets have other shapes."""
    if output.is_same(wanted.tuned.path, wanted.base.path):
        raise UsageError(
            "the checkpoint and its base are one file", "--base takes the checkpoint that it was trained from"
        )
    theirs = wanted.base.header.shapes
    other = next(
        (
            name for name, shape in wanted.tuned.header.shapes.items()
            if name.startswith(_U_NET) and theirs.get(name, shape) != shape
        ),
        None,
    )  # fmt: skip
    if other is not None:
        raise ModelError(
            f"{wanted.tuned.path.name} was not trained from {wanted.base.path.name}: {other} has another shape",
            "--base takes the checkpoint that it was trained from",
        )


def memory_bytes(wanted: Extraction) -> int:
    """Memory that the tool takes at least: both models stay as they are stored."""
    return wanted.tuned.size_bytes + wanted.base.size_bytes


def extract(tools: Tools, wanted: Extraction, target: Path, tell: Tell, shim: Sequence[str] = ()) -> None:
    """Write the LoRA, whole or not at all. ModelError if the tool fails. `shim` are words before the script.

    Nothing is cut off its largest numbers, as the tool does by default.
    """
    words = [
        _SHIM, "0", *shim, SCRIPT, "--sdxl", f"--model_org={wanted.base.path}", f"--model_tuned={wanted.tuned.path}",
        f"--dim={wanted.rank}", f"--save_precision={wanted.precision}", "--clamp_quantile=1",
        f"--min_diff={_least_change(wanted)}",
        *(["--v_parameterization"] if wanted.base.model.prediction == model_file.V_PREDICTION else []),
        *([f"--conv_dim={wanted.conv_rank}"] if wanted.conv_rank else []),
    ]  # fmt: skip
    with files.made_whole(target) as made:
        tools.run([*words, f"--save_to={made}"], tell)


def _least_change(wanted: Extraction) -> float:
    """Above what change of a number the text encoders count as trained. The same precision leaves no rounding."""
    return 0.0 if wanted.tuned.header.dtypes == wanted.base.header.dtypes else _ROUNDING
