"""What is known of a training's checkpoints: from its record, from its files, and from pictures drawn with them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sdxl_train_cli import files, formatting
from sdxl_train_cli.errors import ModelError, UsageError
from sdxl_train_cli.ranking.picture_scores import PictureScores
from sdxl_train_cli.ranking.weight_course import CheckpointWeights
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.records import picture_losses, run_folders
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.records.picture_losses import Validation
from sdxl_train_cli.sdscripts import checkpoint, results

STEPS, EPOCH, NAME = "ss_steps", "ss_epoch", "ss_output_name"
"""What sd-scripts writes into a network's metadata."""
_SUFFIX = ".safetensors"
_U_NET = "model.diffusion_model."


@dataclass(frozen=True)
class Candidate:
    """One checkpoint that may be kept."""

    path: Path
    moment: str
    """`epoch 3`, `step 500`, `final`."""
    step: int | None
    size_bytes: int
    is_final: bool = False


@dataclass(frozen=True)
class Evidence:
    """All that a verdict rests on."""

    name: str
    folder: Path
    candidates: tuple[Candidate, ...]
    """In the order of the training."""
    kind: Kind | None = None
    validations: tuple[Validation, ...] = ()
    weights: tuple[CheckpointWeights, ...] | None = None
    """One for each candidate. None where nobody looked."""
    weights_problem: str | None = None
    """Why nobody could."""
    pictures: PictureScores = field(default_factory=dict)
    is_a_run: bool = True


def of_run(entry: Loaded) -> Evidence:
    """What a run's folder holds. UsageError if it has no checkpoint."""
    made = [one for one in results.checkpoints(entry.folder, entry.name) if one.is_whole and one.path.suffix == _SUFFIX]
    kind = next((kind for kind in Kind if kind.value == entry.record.kind), None)
    found = [
        Candidate(one.path, one.moment, _step(one.path, one.step), one.size_bytes, one.moment == results.FINAL)
        for one in made
    ]
    if not found:
        hint = f"see sdxl-train runs show {formatting.shell_word(entry.folder)}"
        raise UsageError(f"{entry.name} has no checkpoint", hint)
    validations = picture_losses.load(entry.folder / picture_losses.FILE)
    return Evidence(entry.name, entry.folder, _in_order(_with_epochs(found, validations)), kind, validations)


def of_folder(folder: Path) -> Evidence:
    """What a folder of checkpoints holds that no run of ours made. UsageError unless one training made them all."""
    paths = sorted(path for path in folder.iterdir() if path.suffix == _SUFFIX and files.is_file(path))
    by_name: dict[str, list[Candidate]] = {}
    is_whole_model = False
    for path in paths:
        try:
            header = checkpoint.read_header(path)
        except ModelError:
            continue
        metadata, is_whole_model = header.metadata, is_whole_model or header.has(_U_NET)
        step, epoch = _number(metadata.get(STEPS)), _number(metadata.get(EPOCH))
        name = metadata.get(NAME) or re.sub(r"[-_](?:step|epoch|e)?\d+$", "", path.stem)
        step = _numbered(path) if step is None else step
        moment = f"step {step}" if step is not None else f"epoch {epoch}" if epoch is not None else path.stem
        by_name.setdefault(name, []).append(Candidate(path, moment, step, path.stat().st_size, path.stem == name))
    if not by_name:
        if problem := run_folders.holding_runs(folder):
            raise UsageError(problem)
        raise UsageError(f"{folder} holds no checkpoint that can be read", "give a run, or a folder of .safetensors")
    if len(by_name) > 1:
        names = formatting.some(sorted(by_name), 5)
        words = f"{folder} holds checkpoints of {len(by_name)} trainings: {names}"
        raise UsageError(words, "give a folder that holds those of one")
    ((name, found),) = by_name.items()
    kind = Kind.DREAMBOOTH if is_whole_model else None
    return Evidence(name, folder, _in_order(found), kind, is_a_run=False)


def _in_order(found: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """By step; by time where one does not tell its step. The final file is the last, also of those with its step."""
    if all(one.step is not None for one in found):
        return tuple(sorted(found, key=lambda one: (one.step or 0, one.is_final)))
    return tuple(sorted(found, key=lambda one: (one.is_final, one.path.stat().st_mtime)))


def _with_epochs(found: Sequence[Candidate], validations: Sequence[Validation]) -> list[Candidate]:
    """Give the steps that only a validation of the same epoch tells: some files don't say theirs."""
    steps = {f"epoch {one.epoch}": one.step for one in validations if one.epoch is not None}
    return [replace(one, step=steps[one.moment]) if one.step is None and one.moment in steps else one for one in found]


def _step(path: Path, named: int | None) -> int | None:
    return checkpoint.find_number(path, STEPS) if named is None else named


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _numbered(path: Path) -> int | None:
    """The number at the end of a file's name, as other programs write it."""
    match = re.search(r"(\d{2,12})$", path.stem)
    return int(match[1]) if match else None
