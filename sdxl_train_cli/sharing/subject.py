"""The file that is shared, and the run that made it, where one is known."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import files, formatting, layout
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import ModelError, UsageError
from sdxl_train_cli.inspection import model_file
from sdxl_train_cli.inspection.model_file import ModelFile
from sdxl_train_cli.ranking import drawn_pictures, evidence, ranking
from sdxl_train_cli.ranking.picture_scores import ScoreModels
from sdxl_train_cli.ranking.verdict import Verdict
from sdxl_train_cli.records import history, record
from sdxl_train_cli.records.history import Loaded, RunState
from sdxl_train_cli.sdscripts import results
from sdxl_train_cli.sdscripts.results import CheckpointFile

BEST = "best"
_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Subject:
    """One trained file."""

    path: Path
    model: ModelFile
    entry: Loaded | None = None
    """The run that made it. None if it isn't known."""
    saved: CheckpointFile | None = None
    """The file as one of the run's."""
    verdict: Verdict | None = None
    """By which it is the best one, where that was asked for."""

    @property
    def is_final(self) -> bool:
        """Whether it is the run's result."""
        return self.saved is None or self.saved.moment == results.FINAL

    @property
    def kind(self) -> str:
        """What image programs take it for: `network`, `checkpoint` or `embedding`."""
        return "network" if self.model.is_network else "embedding" if self.model.is_embedding else "checkpoint"


def find(
    text: str, output: Path, checkpoint: str | None, installed: Environment | None = None, given: Path | None = None
) -> Subject:
    """Find a run's file, or a file by its path. UsageError or ModelError says what is there instead.

    The environment looks at the weights and pictures where the best of the run's checkpoints is asked for.
    `given` is a folder that was typed for the share: it may be meant as that of the runs.
    """
    path = layout.expand(Path(text))
    if files.is_file(path) and path.name != record.RUN:
        if checkpoint is not None:
            raise UsageError(f"{text} is a file already", "leave out --checkpoint, or name the run")
        return _of_file(path)
    entry = history.require(text, output, given)
    best = _best(entry, installed) if checkpoint == BEST else None
    saved = _chosen(entry, checkpoint if best is None else best.kept.path.name)
    return _looked_at(Subject(saved.path, model_file.read(saved.path), entry, saved, best))


def _best(entry: Loaded, installed: Environment | None) -> Verdict:
    """The verdict of `sdxl-train best`: of the record, the weights and the pictures."""
    known = ranking.with_weights(evidence.of_run(entry), installed)
    found = ranking.judge(known)
    drawn = drawn_pictures.to_look_at(installed, entry, found)
    if drawn is None or installed is None:
        return found
    return ranking.judge(known, drawn_pictures.look(installed, entry, drawn, ScoreModels()))


def _of_file(path: Path) -> Subject:
    model_file.require_safetensors(path)
    entry = history.load(path.parent) if files.is_file(path.parent / record.RUN) else None
    made = [] if entry is None or entry.state is RunState.BROKEN else results.checkpoints(entry.folder, entry.name)
    saved = next((each for each in made if each.path == path), None)
    return _looked_at(Subject(path, model_file.read(path), None if saved is None else entry, saved))


def _looked_at(subject: Subject) -> Subject:
    model = subject.model
    if not (model.is_network or model.is_checkpoint or model.is_embedding):
        hint = f"sdxl-train inspect {formatting.shell_word(subject.path)}"
        raise ModelError(f"{subject.path} is no LoRA, checkpoint or embedding: {model.what}", hint)
    return subject


def _chosen(entry: Loaded, typed: str | None) -> CheckpointFile:
    made = [each for each in results.checkpoints(entry.folder, entry.name) if each.path.suffix == _SUFFIX]
    whole = [each for each in made if each.is_whole]
    hint = _offered(whole, entry)
    if typed is None:
        final = next((each for each in whole if each.moment == results.FINAL), None)
        if final is None or entry.state is RunState.RUNNING:
            state = "is still running" if entry.state is RunState.RUNNING else "has no final .safetensors file"
            raise UsageError(f"{entry.name} {state}", hint)
        return final
    found = next((each for each in whole if _is_meant(each, typed)), None)
    if found is None:
        raise UsageError(f"{entry.name} has no checkpoint '{formatting.cut(typed)}'", hint)
    return found


def _is_meant(made: CheckpointFile, typed: str) -> bool:
    """`300`, `step 300`, `epoch 2`, `final`, a file's name or its path."""
    if re.fullmatch(r"\d{1,18}", typed):
        return made.step == int(typed)
    return typed in {made.moment, made.moment.replace(" ", "-"), made.path.name, made.path.stem} or (
        layout.expand(Path(typed)) == made.path
    )


def _offered(made: list[CheckpointFile], entry: Loaded) -> str:
    if not made:
        return f"sdxl-train runs show {formatting.shell_word(entry.folder)}"
    names = [str(each.step) if each.step is not None else each.moment.replace(" ", "-") for each in made]
    return "it has " + ", ".join(f"--checkpoint {name}" for name in dict.fromkeys(names[-5:]))
