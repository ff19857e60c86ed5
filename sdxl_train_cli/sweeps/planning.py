"""From a base and the points' settings to checked jobs. Every point is checked as a run is; nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sdxl_train_cli.dataset import bucketing
from sdxl_train_cli.errors import Problem, SdxlTrainError
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.run import summary
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.sweeps import point_names

Prepare = Callable[[Choices], Prepared]
"""Check one run. Raises what is wrong."""


@dataclass(frozen=True)
class PlannedPoint:
    """A point that would train."""

    settings: Mapping[str, str]
    prepared: Prepared

    @property
    def name(self) -> str:
        """Its run's name."""
        return self.prepared.choices.name

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        return bucketing.arrange(self.prepared.recipe, self.prepared.readable).steps

    @property
    def seconds(self) -> float | None:
        """By what runs with these settings took on this GPU. None if none was measured."""
        return summary.seconds(self.prepared)


def choices_of(base: Choices, name: str, settings: Mapping[str, str]) -> Choices:
    """The choices for one point."""
    own = tuple(presets.parse_override(f"{option}={value}") for option, value in settings.items())
    return replace(base, name=name, overrides=(*base.overrides, *own), starts_later=True)


def with_overrides(base: Choices, more: Sequence[Override]) -> Choices:
    """The choices with what is set for all points. What was typed counts."""
    return replace(base, overrides=(*more, *base.overrides))


def plan(base: Choices, points: Sequence[Mapping[str, str]], prepare: Prepare) -> list[PlannedPoint]:
    """Check every point. Raises all that is wrong with any of them: what all have in common once, else by name."""
    found, errors = list[PlannedPoint](), dict[str, SdxlTrainError]()
    for name, settings in zip(point_names.of(base.name, points), points, strict=True):
        try:
            found.append(PlannedPoint(settings, prepare(choices_of(base, name, settings))))
        except SdxlTrainError as error:
            errors[name] = error
    if errors:
        raise _refusal(errors, len(points))
    return found


def _refusal(errors: Mapping[str, SdxlTrainError], points: int) -> SdxlTrainError:
    """One error for all of them. The first one's class decides the exit code."""
    whose: dict[Problem, list[str]] = {}
    for name, error in errors.items():
        for problem in error.problems:
            whose.setdefault(problem, []).append(name)
    told = [
        problem if len(bad) == points else replace(problem, message=f"{problem.message} ({_whose(bad, points)})")
        for problem, bad in whose.items()
    ]
    return type(next(iter(errors.values())))(told)


def _whose(bad: Sequence[str], points: int) -> str:
    return bad[0] if len(bad) == 1 else f"{bad[0]} and {len(bad) - 1} more of {points} points"
