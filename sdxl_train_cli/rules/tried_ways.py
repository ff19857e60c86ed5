"""Ways out are tried before they are told: each goes through the same preparation as if it had been typed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from sdxl_train_cli.errors import Problem, WayOut

_MOST_STEPS = 3
"""Ways out that are joined to one: what the first makes wrong, the next sets right."""
_MOST_TOLD = 3
"""Ways out of one problem."""
_MOST_TRIED = 20
"""Problems whose ways out are looked for: each costs a few preparations."""
_MOST_PROBLEMS = 200
"""With more than these, no way out is looked for: a preparation takes too long, and none would help."""


@dataclass(frozen=True)
class TryResult:
    """What is wrong, and what is odd, after a way out is taken."""

    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    memory: Problem | None = None
    """That the run does not fit into the GPU; it is looked at only where nothing else is wrong."""


Try = Callable[[WayOut], TryResult]
"""Prepares the same run with a way out, and writes nothing."""


def only_working(problems: Sequence[Problem], attempt: Try) -> list[Problem]:
    """The problems with those ways out alone that solve them and make nothing else wrong.

    A way out that needs another one is joined with it. Those that cause no new warning come first.
    """
    if len(problems) > _MOST_PROBLEMS:
        return [replace(problem, ways=()) for problem in problems]
    if not any(problem.ways for problem in problems):
        return list(problems)
    cached = functools.cache(attempt)
    before = cached(WayOut(()))
    tried = [replace(problem, ways=tuple(_working(problem, cached, before))) for problem in problems[:_MOST_TRIED]]
    return [*tried, *(replace(problem, ways=()) for problem in problems[_MOST_TRIED:])]


def _working(problem: Problem, attempt: Try, before: TryResult) -> list[WayOut]:
    usual = _common([attempt(way) for way in problem.ways]) if before.problems else before.warnings
    search = _Search(problem, attempt, before, usual)
    found = list(dict.fromkeys(filter(None, map(search.completed, problem.ways))))
    quiet = [way for way in found if not search.new_warnings(attempt(way))]
    return [*quiet, *(way for way in found if way not in quiet)][:_MOST_TOLD]


def _common(results: Sequence[TryResult]) -> tuple[Problem, ...]:
    """What is odd whatever is done; as it is now it can't be told, since something is wrong."""
    sound = [result.warnings for result in results if not result.problems]
    return tuple(problem for problem in sound[0] if all(problem in found for found in sound)) if sound else ()


@dataclass(frozen=True)
class _Search:
    problem: Problem
    attempt: Try
    before: TryResult
    """As it is now."""
    usual: Sequence[Problem]
    """Warnings that no way out has caused."""

    def completed(self, way: WayOut, steps: int = _MOST_STEPS) -> WayOut | None:
        """The way out, with more where it needs more; None where it leads nowhere."""
        after = self.attempt(way)
        if self.problem in (*after.problems, *after.warnings):
            return None
        wrong = [problem for problem in after.problems if problem not in self.before.problems]
        todo = [*wrong, *filter(None, [after.memory]), *self.new_warnings(after)]
        if not todo:
            return way
        longer = (self.completed(joined, steps - 1) for joined in _joined(way, todo[0]) if steps > 1)
        complete = next(filter(None, longer), None)
        could_not_fit = after.memory is not None and self.before.memory is None and bool(self.before.problems)
        solves = not wrong and (after.memory is None or could_not_fit)
        return complete or (way if solves else None)

    def new_warnings(self, after: TryResult) -> list[Problem]:
        return [problem for problem in after.warnings if problem not in self.usual]


def _joined(way: WayOut, more: Problem) -> Iterator[WayOut]:
    """Give the way out with each of those of another problem that take nothing of it back."""
    for other in more.ways:
        if way.options.isdisjoint(other.options) and other.preset is None:
            yield WayOut((*way.settings, *other.settings), other.words or way.words, way.preset)
