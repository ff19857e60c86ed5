"""Errors that the user can act on. The class decides the exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sdxl_train_cli import formatting
from sdxl_train_cli.origin import Origin


@dataclass(frozen=True)
class WayOut:
    """One way out of a problem: options to set, each as `--set` takes it."""

    settings: tuple[str, ...]
    """`OPTION=VALUE` each; the value null takes the option away."""
    words: str = ""
    """What is told after the flags: need and cost."""
    preset: str | None = None
    """Another preset that the settings are for."""

    @property
    def flags(self) -> str:
        """What to type."""
        preset = [] if self.preset is None else [f"--preset {formatting.shell_word(self.preset)}"]
        return " ".join([*preset, *(f"--set {formatting.shell_word(setting)}" for setting in self.settings)])

    @property
    def options(self) -> frozenset[str]:
        """The options that it sets."""
        return frozenset(setting.partition("=")[0] for setting in self.settings)

    def __str__(self) -> str:
        return f"{self.flags}   {self.words}" if self.words else self.flags


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
    ways: tuple[WayOut, ...] = ()
    """What can be typed; the hint is told after them."""

    def __str__(self) -> str:
        where = str(self.where or "")
        return f"{where}: {self.message}" if where else self.message

    @property
    def hint_lines(self) -> list[str]:
        """The ways out and the hint as they are printed; ways out that have words of their own have a line each."""
        plain = ", or ".join(str(way) for way in self.ways if not way.words)
        told = [str(way) for way in self.ways if way.words]
        return [*filter(None, [plain]), *told, *(self.hint or "").splitlines()]


class SdxlTrainError(Exception):
    """Base class of expected errors. Carries every problem found, not only the first."""

    exit_code = 1

    def __init__(self, problems: str | Problem | Sequence[Problem], hint: str | None = None) -> None:
        if isinstance(problems, str):
            problems = [Problem(problems, hint)]
        elif isinstance(problems, Problem):
            problems = [problems]
        self.problems = tuple(problems)
        self.facts: Mapping[str, object] = {}
        """What else `--json` says of it, such as how far the run came."""
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

    def require_none(self, tried: Callable[[list[Problem]], list[Problem]] = list) -> None:
        """Raise everything that was collected. The first error's class decides the exit code.

        `tried` gives the problems with those ways out alone that lead somewhere.
        """
        if self._errors:
            each = dict.fromkeys(problem for error in self._errors for problem in error.problems)
            problems = tried(list(each))
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
