"""How the weights of a training went from checkpoint to checkpoint, as inside/weight_course.py has measured it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sdxl_train_cli import formatting
from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import ModelError, SetupError
from sdxl_train_cli.inspection import model_file

_SCRIPT = "weight_course.py"


class _Measured(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    norm: float | None
    """Frobenius norm of what is added to the base's weights."""
    rank: float | None
    """Effective rank, the mean over modules."""
    moved: float | None
    """How far it is from the checkpoint before: a norm, or for a whole checkpoint a share of its weights' norm."""


class BlockWeights(_Measured):
    """A block of one checkpoint."""

    part: str
    block: str
    modules: int


class CheckpointWeights(_Measured):
    """One checkpoint."""

    nonfinite: int
    """Modules that hold NaN or infinity."""
    blocks: tuple[BlockWeights, ...]


class _CourseOfFiles(BaseModel):
    files: tuple[CheckpointWeights, ...]


def measure(installed: Environment, files: Sequence[Path]) -> tuple[CheckpointWeights, ...]:
    """Follow files in the order of their training. SetupError if that fails, ModelError for a bad one."""
    names = [str(file.absolute()) for file in files]
    found = environment.run_script(installed, _SCRIPT, *names, "--names", str(model_file.NAMES))
    if "unreadable" in found:
        at = found.get("file")
        bad = files[at] if isinstance(at, int) and 0 <= at < len(files) else files[0]
        hint = f"sdxl-train inspect {formatting.shell_word(bad)}"
        raise ModelError(f"the weights can't be followed: {found['unreadable']}", hint)
    try:
        return _CourseOfFiles.model_validate(found).files
    except ValueError as error:
        raise SetupError(f"the environment does not work: {_SCRIPT} printed something else") from error
