"""What inside/doctor.py answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

from pydantic import BaseModel, ConfigDict, ValidationError

from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import EnvironmentFiles
from sdxl_train_cli.errors import SetupError


class _Answered(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class PackageFacts(_Answered):
    """One installed distribution."""

    version: str
    requires: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    """Versions of further copies. Setups before this one noted those that setuptools brings."""


class FileFaultKind(str, Enum):
    """How a file differs from what was installed."""

    MISSING = "missing"
    EMPTY = "empty"
    ZEROS = "zeros"
    BROKEN = "broken"
    CHANGED = "changed"
    """Code that still compiles, or no code: somebody may have wanted it."""


class AlteredFile(_Answered):
    """One file that is not as it was installed."""

    file: str
    fault: FileFaultKind


class Exercise(_Answered):
    """How one exercise went. Without error, slow and left_out it went well."""

    seconds: float
    error: str | None = None
    slow: str | None = None
    left_out: str | None = None


class TorchDevice(_Answered):
    """A GPU as torch sees it."""

    name: str
    arch_supported: bool


class TorchFacts(_Answered):
    """torch's build, and the GPUs that it sees."""

    version: str
    cuda: str | None
    cuda_available: bool
    devices: tuple[TorchDevice, ...] = ()


class Answer(_Answered):
    """All that the environment's Python says of itself."""

    python: str
    torch: TorchFacts | None = None
    packages: Mapping[str, PackageFacts] = {}
    files: Mapping[str, tuple[AlteredFile, ...]] = {}
    exercises: Mapping[str, Exercise] = {}


def ask(parts: EnvironmentFiles, exercises: Sequence[str]) -> Answer:
    """Let the environment's Python do the exercises. SetupError if it can't even start."""
    told = environment.run_script(parts, "doctor.py", *exercises)
    try:
        return Answer.model_validate(told)
    except ValidationError as error:
        raise SetupError(f"the environment's Python gave no answer: {error.errors()[0]['msg']}") from error
