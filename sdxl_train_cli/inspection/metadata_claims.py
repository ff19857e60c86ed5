"""What a file's metadata says, held against its tensors and the run that made it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli.errors import Problem
from sdxl_train_cli.inspection import model_file
from sdxl_train_cli.inspection.model_file import ModelFile
from sdxl_train_cli.sdscripts import model_spec


@dataclass(frozen=True)
class TrainedWith:
    """What a run was told, as far as its result must show it."""

    v_prediction: bool
    resolution: tuple[int, ...]
    base: str
    """The base model's file name or hub id."""
    highest_rate: float | None
    """The highest learning rate that the trainer logged. None if it logged none."""
    optimizer: str


def false_claims(model: ModelFile, trained: TrainedWith | None) -> Iterator[Problem]:
    """What programs and people would believe of the file, and is not so."""
    for what, said, true in (*_by_tensors(model), *_by_run(model, trained)):
        yield Problem(f"its metadata says {what} {said}, but it is {true}")
    if trained is not None and trained.v_prediction and model.is_checkpoint and model.prediction is None:
        yield Problem(
            "it was trained for v-prediction, but has no tensor named v_pred: ComfyUI and Forge take it for epsilon",
            "in ComfyUI, put the node ModelSamplingDiscrete behind the checkpoint, set to v_prediction",
        )


Claim = tuple[str, object, object]
"""What is claimed, what the metadata says, and what is true."""


def _by_tensors(model: ModelFile) -> Iterator[Claim]:
    if model.said_family and model.family and model.said_family != model.family:
        yield "base", model.said_family, model.family
    said_rank = model_file.number(model.metadata.get("ss_network_dim"))
    plain = model.what == "LoRA" and "ss_network_args" not in model.metadata
    if plain and said_rank is not None and len(model.ranks) == 1 and said_rank != model.ranks[0]:
        yield "rank", f"{said_rank:g}", model.ranks[0]
    if model.prediction and model.said_prediction and model.said_prediction not in model.prediction:
        yield "prediction type", model.said_prediction, model.prediction


def _by_run(model: ModelFile, trained: TrainedWith | None) -> Iterator[Claim]:
    if trained is None:
        return
    prediction = model_file.V_PREDICTION if trained.v_prediction else model_file.EPSILON
    if model.said_prediction and model.said_prediction != prediction:
        yield "prediction type", model.said_prediction, prediction
    said = model.metadata.get(model_spec.RESOLUTION)
    sides = trained.resolution * 2 if len(trained.resolution) == 1 else trained.resolution
    true = "x".join(map(str, sides))
    if said and sides and said != true:
        yield "resolution", said, true
    named = model.metadata.get("ss_sd_model_name")
    if named and Path(named).name != Path(trained.base).name:
        yield "base model", named, trained.base
