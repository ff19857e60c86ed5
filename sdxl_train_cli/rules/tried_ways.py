"""Ways out are tried before they are told: each goes through the same preparation as if it had been typed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from sdxl_train_cli.errors import Problem, WayOut

_MOST_STEPS = 3
"""Ways out that are joined to one: what the first makes wrong, the next sets right."""


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
    if not any(problem.ways for problem in problems):
        return list(problems)
    search = _Search(attempt, attempt(WayOut(())))
    return [replace(problem, ways=tuple(search.working(problem))) if problem.ways else problem for problem in problems]


@dataclass(frozen=True)
class _Search:
    attempt: Try
    before: TryResult
    """As it is now."""

    def working(self, problem: Problem) -> list[WayOut]:
        found = list(dict.fromkeys(filter(None, (self._completed(way, problem) for way in problem.ways))))
        quiet = [way for way in found if not self._new_warnings(self.attempt(way))]
        return [*quiet, *(way for way in found if way not in quiet)]

    def _completed(self, way: WayOut, problem: Problem, steps: int = _MOST_STEPS) -> WayOut | None:
        """The way out, with more where it needs more; None where it leads nowhere."""
        after = self.attempt(way)
        if problem in (*after.problems, *after.warnings):
            return None
        wrong = _new(after.problems, self.before.problems)
        todo = [*wrong, *filter(None, [after.memory]), *self._new_warnings(after)]
        if not todo:
            return way
        longer = (self._completed(joined, problem, steps - 1) for joined in _joined(way, todo[0]) if steps > 1)
        complete = next(filter(None, longer), None)
        could_not_fit = after.memory is not None and self.before.memory is None and bool(self.before.problems)
        solves = not wrong and (after.memory is None or could_not_fit)
        return complete or (way if solves else None)

    def _new_warnings(self, after: TryResult) -> list[Problem]:
        return _new(after.warnings, self.before.warnings)


def _joined(way: WayOut, more: Problem) -> Iterator[WayOut]:
    """Give the way out with each of those of another problem that take nothing of it back."""
    for other in more.ways:
        if way.options.isdisjoint(other.options) and other.preset is None:
            yield WayOut((*way.settings, *other.settings), other.words or way.words, way.preset)


def _new(after: Sequence[Problem], before: Sequence[Problem]) -> list[Problem]:
    return [problem for problem in after if problem not in before]
