"""What inside/weights.py has found in a file's weights."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import ModelError, SetupError
from sdxl_train_cli.inspection import model_file

SCRIPT = "weights.py"
LABELS = {"unet": "U-Net", "te1": "text encoder 1", "te2": "text encoder 2", "vae": "VAE"}
"""The parts of a model, by the script's names."""


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class PartNorm(_Facts):
    """A network's modules of one part of the model."""

    part: str
    modules: int
    idle: int
    """Modules that change nothing: one of their factors is all zero, or their alpha is 0."""
    scaled_away: int = 0
    """Those of them whose alpha is 0."""
    norm: float | None
    """What they add to the base's weights, as a Frobenius norm."""

    @property
    def label(self) -> str:
        """The part's name for a person."""
        return LABELS.get(self.part, "other weights")


class BlockNorm(PartNorm):
    """The same of one block."""

    block: str
    largest: float | None
    """The norm of the module that adds most."""
    where: str | None


class PartChange(_Facts):
    """How one part of a checkpoint's sample differs from the base."""

    tensors: int
    changed: int
    share: float
    """Of the numbers that were compared."""
    relative: float | None
    """The change's norm, beside that of the base's weights."""


class BaseComparison(_Facts):
    """A checkpoint compared with its base."""

    compared: int
    changed: int
    parts: Mapping[str, PartChange]


class EarlierComparison(_Facts):
    """A file compared with an earlier one of its run."""

    compared: int
    moved: int


class WeightFacts(_Facts):
    """All that was found."""

    tensors: int
    looked_at: int
    nonfinite: tuple[str, ...]
    """The first of the tensors that hold NaN or infinity."""
    nonfinite_tensors: int
    zero_tensors: int
    parts: tuple[PartNorm, ...]
    blocks: tuple[BlockNorm, ...]
    against: BaseComparison | None
    before: EarlierComparison | None


def start(installed: Environment, file: Path, base: Path | None = None) -> Callable[[], WeightFacts]:
    """Begin to look at a file's weights. What is returned waits for the answer, and raises as `examine` does."""
    answers = queue.SimpleQueue[WeightFacts | Exception]()

    def look() -> None:
        try:
            answers.put(examine(installed, file, base=base))
        except Exception as error:  # noqa: BLE001 - raised where the answer is asked for
            answers.put(error)

    threading.Thread(target=look, daemon=True).start()

    def wait() -> WeightFacts:
        answer = answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    return wait


def examine(  # noqa: PLR0913 - keyword-only, each is one flag of the script
    installed: Environment,
    file: Path,
    *,
    base: Path | None = None,
    earlier: Path | None = None,
    whole: bool = False,
    in_background: bool = False,
) -> WeightFacts:
    """Look at a file's weights in the training environment. SetupError if that fails, ModelError for a broken file."""
    options = ["--names", str(model_file.NAMES)]
    options += ["--against", str(base)] if base is not None else []
    options += ["--before", str(earlier)] if earlier is not None else []
    options += ["--whole"] if whole else []
    options += ["--background"] if in_background else []
    found = environment.run_script(installed, SCRIPT, str(file.absolute()), *options)
    if "unreadable" in found:
        raise ModelError(f"the weights of {file} can't be read: {found['unreadable']}", "download or train it again")
    try:
        return WeightFacts.model_validate(found)
    except ValueError as error:
        raise SetupError(f"the environment does not work: {SCRIPT} printed something else") from error
