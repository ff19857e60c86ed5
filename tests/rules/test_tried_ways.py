"""A way out is told only after it was tried: it solves its problem, and makes nothing else wrong."""

from __future__ import annotations

from collections.abc import Mapping

from sdxl_train_cli.errors import Problem, WayOut
from sdxl_train_cli.rules import tried_ways
from sdxl_train_cli.rules.tried_ways import TryResult

FAULT = Problem("a and b can't both be on", ways=(WayOut(("a=null",)), WayOut(("b=null",))))
OTHER = Problem("without a, c is refused", ways=(WayOut(("c=null",)), WayOut(("a=1",))))
LARGE = Problem("needs 9 GB", ways=(WayOut(("small=true",), "needs 5 GB"),))
ODD = Problem("d does nothing", ways=(WayOut(("d=null",)),))


def flags(results: Mapping[str, TryResult], problem: Problem = FAULT) -> list[str]:
    """The ways out that are left, where each change leads to one of the results."""
    results = {"": TryResult((problem,)), **results}
    (tried,) = tried_ways.only_working([problem], lambda way: results.get(" ".join(way.settings), TryResult()))
    return [way.flags for way in tried.ways]


def test_what_works_is_told_as_it_is() -> None:
    assert flags({}) == ["--set a=null", "--set b=null"]


def test_what_leaves_the_problem_is_not_told() -> None:
    assert flags({"a=null": TryResult((FAULT,))}) == ["--set b=null"]


def test_what_makes_something_else_wrong_is_joined_with_the_way_out_of_that() -> None:
    assert flags({"a=null": TryResult((OTHER,))}) == ["--set a=null --set c=null", "--set b=null"]


def test_what_would_only_go_to_and_fro_is_not_told() -> None:
    stuck = Problem("c needs a", ways=(WayOut(("a=1",)),))

    assert flags({"a=null": TryResult((stuck,))}) == ["--set b=null"]


def test_what_does_not_fit_the_gpu_is_joined_with_what_makes_it_fit() -> None:
    assert flags({"b=null": TryResult(memory=LARGE)}) == ["--set a=null", "--set b=null --set small=true"]


def test_what_causes_a_warning_comes_last_with_the_way_out_of_it() -> None:
    results = {"a=null": TryResult(warnings=(ODD,)), "a=null d=null": TryResult(warnings=(Problem("odd too"),))}

    assert flags(results) == ["--set b=null", "--set a=null --set d=null"]


def test_a_warning_that_is_there_anyway_is_left_alone() -> None:
    both = TryResult(warnings=(ODD,))

    assert flags({"a=null": both, "b=null": both}) == ["--set a=null", "--set b=null"]


def test_another_fault_that_was_there_before_keeps_nothing_from_being_told() -> None:
    assert flags({"": TryResult((FAULT, OTHER)), "a=null": TryResult((OTHER,))}) == ["--set a=null", "--set b=null"]
