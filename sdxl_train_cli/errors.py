"""Errors that the user can act on. The class decides the exit code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sdxl_train_cli.origin import Origin


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: its subject, a message, and what to type next.

    Code reads the fields; the text is only for people.
    """

    message: str
    hint: str | None = None
    where: Origin | str | None = None
    """The line or flag at fault. A plain string names a whole file."""
    options: tuple[str, ...] = ()
    """The sd-scripts options involved."""

    def __str__(self) -> str:
        where = str(self.where or "")
        return f"{where}: {self.message}" if where else self.message

    @property
    def hint_lines(self) -> list[str]:
        """The hint as printed: one line for each alternative."""
        return (self.hint or "").splitlines()


class SdxlTrainError(Exception):
    """Base class of expected errors. Carries every problem found, not only the first."""

    exit_code = 1

    def __init__(self, problems: str | Problem | Sequence[Problem], hint: str | None = None) -> None:
        if isinstance(problems, str):
            problems = [Problem(problems, hint)]
        elif isinstance(problems, Problem):
            problems = [problems]
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Gathering:
    """Collects expected errors, so that everything that is wrong is reported at once."""

    def __init__(self) -> None:
        self._errors: list[SdxlTrainError] = []

    @contextmanager
    def part(self) -> Iterator[None]:
        """Run one check, independent of the others."""
        try:
            yield
        except SdxlTrainError as error:
            self._errors.append(error)

    @property
    def is_empty(self) -> bool:
        """Whether no check has failed so far."""
        return not self._errors

    def require_none(self) -> None:
        """Raise everything that was collected. The first error's class decides the exit code."""
        if self._errors:
            problems = [problem for error in self._errors for problem in error.problems]
            raise type(self._errors[0])(problems) from self._errors[0]


class UsageError(SdxlTrainError):
    """The command line is invalid."""

    exit_code = 2


class RecipeError(SdxlTrainError):
    """A preset, project file or override asks for something that can't be trained."""

    exit_code = 3


class DatasetError(SdxlTrainError):
    """The pictures or their captions can't be trained on."""

    exit_code = 4


class ModelError(SdxlTrainError):
    """The base model or VAE is not what SDXL training needs."""

    exit_code = 4


class SetupError(SdxlTrainError):
    """The isolated environment is missing, or could not be created."""

    exit_code = 5


class VramError(SdxlTrainError):
    """The run needs more GPU memory than is available."""

    exit_code = 6


class TrainingError(SdxlTrainError):
    """The trainer started and did not deliver a result."""

    exit_code = 7


class GpuMemoryError(TrainingError):
    """The trainer ran out of GPU memory."""
