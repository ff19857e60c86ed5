"""From what a person names to the verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sdxl_train_cli import files, formatting, layout
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import SdxlTrainError, UsageError
from sdxl_train_cli.ranking import evidence, picture_choice, verdict, weight_course
from sdxl_train_cli.ranking.evidence import Evidence
from sdxl_train_cli.ranking.picture_scores import PictureFindings
from sdxl_train_cli.ranking.verdict import Verdict
from sdxl_train_cli.records import history, record


def find(text: str, output: Path) -> Evidence:
    """What is recorded of a run, or of a folder of checkpoints that is no run's. UsageError if there is neither."""
    folder = layout.expand(Path(text))
    is_run = any(files.is_file(place / record.RUN) for place in (output / text, folder))
    if text and not is_run and files.is_folder(folder):
        return evidence.of_folder(folder)
    if text and folder.name != record.RUN and files.is_file(folder):
        raise UsageError(f"{text} is a file: best takes a run or a folder", _folder_of(folder))
    return evidence.of_run(history.require(text, output))


def _folder_of(path: Path) -> str:
    return f"sdxl-train best {formatting.shell_word(path.parent)}"


def with_weights(known: Evidence, installed: Environment | None) -> Evidence:
    """The same with a look at the files' weights, where the training environment can take one."""
    if installed is None:
        return replace(known, weights_problem="sdxl-train is not set up")
    try:
        weights = weight_course.measure(installed, [one.path for one in known.candidates])
    except SdxlTrainError as error:
        return replace(known, weights_problem=error.problems[0].message)
    return replace(known, weights=weights)


def judge(known: Evidence, pictures: PictureFindings | None = None) -> Verdict:
    """The verdict of what is known, and of what was found in pictures."""
    if pictures is None:
        return verdict.judge(known)
    found = verdict.judge(replace(known, pictures=pictures.scores))
    return replace(found, pictured=picture_choice.choose(found, pictures.base))
