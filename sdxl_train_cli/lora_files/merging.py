"""Merge LoRAs: into one that adds exactly the weighted sum of them, or into a checkpoint.

Several into one: their factors are put side by side, so that the rank is the sum of theirs and nothing is lost. This
is what networks/sdxl_merge_lora.py --concat is named for, but that puts each ratio on both factors, so that it counts
squared, and divides by the rank of all; without --concat it multiplies each LoRA's down with the others' up.
networks/svd_merge_lora.py sums rightly, then cuts the largest hundredth of its numbers off. Into a checkpoint,
sdxl_merge_lora.py is right, and used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from sdxl_train_cli import files, formatting
from sdxl_train_cli.errors import ModelError, Problem, UsageError
from sdxl_train_cli.inspection import model_file
from sdxl_train_cli.lora_files import handed, rewriting
from sdxl_train_cli.lora_files.alphas import ALPHA, Alphas
from sdxl_train_cli.lora_files.handed import HandedFile
from sdxl_train_cli.lora_files.plans import AssemblyPlan, TensorPart
from sdxl_train_cli.lora_files.tools import Tell, Tools
from sdxl_train_cli.sdscripts import checkpoint, model_spec

INTO_SCRIPT = "networks/sdxl_merge_lora.py"
_MARKS = ("v_pred", "ztsnr")
"""Empty tensors by which image programs know what a checkpoint predicts; sd-scripts leaves them out."""
_UP, _DOWN = ".lora_up.weight", ".lora_down.weight"
_INSTEAD = "load it beside the others in your image program"
_LARGEST_RATIO = 100.0


@dataclass(frozen=True)
class Ingredient:
    """One LoRA and how much of it."""

    file: HandedFile
    ratio: float


@dataclass(frozen=True)
class MergeIntoBase:
    """LoRAs, and the checkpoint that they are merged into."""

    base: HandedFile
    ingredients: Sequence[Ingredient]
    precision: str


def parse(text: str) -> tuple[Path, float]:
    """`FILE` or `FILE:RATIO`. UsageError for a ratio that is none."""
    name, colon, ratio = text.rpartition(":")
    if not colon or not name or "/" in ratio or "\\" in ratio or files.exists(text):
        return Path(text), 1.0
    try:
        found = float(ratio)
    except ValueError as error:
        raise UsageError(f"'{ratio}' is no ratio", f"such as {name}:0.8") from error
    if not abs(found) <= _LARGEST_RATIO or found == 0:
        raise UsageError(f"{ratio} is no ratio that could be meant", f"such as {name}:0.8")
    return Path(name), found


def require(ingredients: Sequence[Ingredient]) -> None:
    """ModelError for a file that can't be merged."""
    for each in ingredients:
        handed.require_sdxl(each.file)
        handed.require_factors(each.file, "be merged", _INSTEAD)
        handed.require_kohya_names(each.file)


def require_rank(ingredients: Sequence[Ingredient], rank: int) -> None:
    """UsageError for a rank of the new LoRA that is none smaller than that of their exact sum."""
    modules = {module for each in ingredients for module in _modules(each)}
    most = max(sum(_modules(each).get(module, 0) for each in ingredients) for module in modules)
    if rank >= most:
        smaller = f"--rank {most // 2}, or leave it out" if most > 1 else "leave --rank out"
        raise UsageError(f"the exact sum has rank {most}: --rank takes less", smaller)


def warnings(ingredients: Sequence[Ingredient]) -> list[Problem]:
    """What may be wrong with merging these, and can't be known."""
    said = {each.file.model.said_prediction for each in ingredients} - {None}
    if len(said) > 1:
        return [Problem(f"they are for bases of different kinds: {' and '.join(sorted(map(str, said)))}")]
    return []


def plan_sum(ingredients: Sequence[Ingredient], title: str, precision: str) -> AssemblyPlan:
    """The plan of one LoRA that adds what all of them add. UsageError if their shapes differ."""
    tensors: dict[str, list[TensorPart]] = {}
    numbers: dict[str, float] = {}
    axes: dict[str, int] = {}
    unit = _unit(ingredients)
    ranks = set()
    for module in dict.fromkeys(module for each in ingredients for module in _modules(each)):
        having = [(at, each) for at, each in enumerate(ingredients) if module in _modules(each)]
        _require_alike(module, [each for _, each in having])
        tensors[module + _UP] = [TensorPart(at, module + _UP, _scale(each, module) / unit) for at, each in having]
        tensors[module + _DOWN] = [TensorPart(at, module + _DOWN) for at, _ in having]
        axes |= {module + _UP: 1, module + _DOWN: 0}
        rank = sum(_rank(each, module) for _, each in having)
        numbers[module + ALPHA] = rank * unit
        ranks.add(rank)
    paths = [each.file.path for each in ingredients]
    return AssemblyPlan(paths, tensors, axes, numbers, _metadata(ingredients, title, ranks, unit), precision)


def merge_into(tools: Tools, wanted: MergeIntoBase, target: Path, tell: Tell, shim: Sequence[str] = ()) -> None:
    """Merge LoRAs into a checkpoint, through sd-scripts. `shim` are words before the script."""
    marks = [name for name in _MARKS if name in wanted.base.header.shapes]
    words = [
        *(["marked.py", ",".join(marks)] if marks else []), *shim, INTO_SCRIPT, f"--sd_model={wanted.base.path}",
        "--precision=float", f"--save_precision={wanted.precision}",
        "--models", *(str(each.file.path) for each in wanted.ingredients),
        "--ratios", *(repr(each.ratio) for each in wanted.ingredients),
    ]  # fmt: skip
    with files.made_whole(target) as made:
        tools.run([*words, f"--save_to={made}"], tell)
        if wanted.base.model.prediction == model_file.V_PREDICTION:  # the tool says epsilon of every base
            metadata = checkpoint.read_header(made).metadata
            rewriting.write(made, made, {**metadata, model_spec.PREDICTION: model_spec.V_PREDICTION})


def _modules(each: Ingredient) -> dict[str, int]:
    return model_file.ranks_by_module(each.file.header)


def _rank(each: Ingredient, module: str) -> int:
    return each.file.header.shapes[module + _DOWN][0]


def _scale(each: Ingredient, module: str) -> float:
    """What up times down is multiplied with."""
    rank = _rank(each, module)
    return each.ratio * Alphas(each.file).of(module, rank) / rank


def _unit(ingredients: Sequence[Ingredient]) -> float:
    """A power of two that no scale exceeds. It goes into alpha, and rounds nothing. ModelError if all are 0."""
    largest = max(abs(_scale(each, module)) for each in ingredients for module in _modules(each))
    if not largest:
        raise ModelError("they add nothing: every alpha is 0", _inspect(ingredients[0]))
    return float(2.0 ** math.ceil(math.log2(largest)))


def _inspect(each: Ingredient) -> str:
    return f"sdxl-train inspect {formatting.shell_word(each.file.path)}"


def _require_alike(module: str, having: Sequence[Ingredient]) -> None:
    sides = {(each.file.header.shapes[module + _UP][0], each.file.header.shapes[module + _DOWN][1:]) for each in having}
    if len(sides) > 1:
        names = " and ".join(each.file.path.name for each in having)
        raise UsageError(f"{names} are for models of different shapes: {module} differs", "merge LoRAs of one base")


def _metadata(ingredients: Sequence[Ingredient], title: str, ranks: set[int], unit: float) -> dict[str, str]:
    first = ingredients[0].file.model.metadata
    shared = ("ss_base_model_version", "ss_v2", model_spec.PREDICTION, model_spec.RESOLUTION, "ss_sd_model_name")
    alike = {
        key: first[key] for key in shared
        if key in first and all(each.file.model.metadata.get(key) == first[key] for each in ingredients)
    }  # fmt: skip
    dim = str(*ranks) if len(ranks) == 1 else "Dynamic"
    triggers = [each.file.model.metadata.get(model_spec.TRIGGER, "") for each in ingredients]
    told = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": dim,
        "ss_network_alpha": str(ranks.copy().pop() * unit) if len(ranks) == 1 else "Dynamic",
        model_spec.SPEC_VERSION: model_spec.VERSION,
        model_spec.ARCHITECTURE: f"{model_spec.SDXL}{model_spec.LORA}",
        model_spec.IMPLEMENTATION: model_spec.STABILITY_AI,
        model_spec.TITLE: title,
        model_spec.DATE: f"{datetime.now(timezone.utc):%Y-%m-%d}",
        model_spec.MERGED_FROM: ", ".join(_named(each) for each in ingredients),
        rewriting.MODEL_HASH: "",
    }
    trigger = ", ".join(dict.fromkeys(filter(None, triggers)))
    return {**alike, **told, **({model_spec.TRIGGER: trigger} if trigger else {})}


def _named(each: Ingredient) -> str:
    name = each.file.model.metadata.get(model_spec.TITLE) or each.file.path.stem
    return name if each.ratio == 1 else f"{name} x {each.ratio:g}"
