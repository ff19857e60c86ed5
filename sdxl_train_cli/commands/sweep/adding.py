"""`sdxl-train sweep lora ...`: the training commands' own flags and checks, with several values of some."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, get_type_hints

import typer

from sdxl_train_cli.commands import train as training
from sdxl_train_cli.commands import values
from sdxl_train_cli.commands.cluster import submission
from sdxl_train_cli.commands.sweep import several_values
from sdxl_train_cli.commands.sweep.checking import SweepRequest
from sdxl_train_cli.environment import environment
from sdxl_train_cli.errors import RecipeError, UsageError
from sdxl_train_cli.recipe import Kind, Recipe, Setting
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.sdscripts import options
from sdxl_train_cli.sdscripts.options import OptionTable
from sdxl_train_cli.sweeps import axes
from sdxl_train_cli.sweeps.axes import Axis
from sdxl_train_cli.sweeps.sweep import Way

SWEEP = "Sweep"

RandomCount = Annotated[
    int | None, values.whole("--random", metavar="RUNS", about="Draw this many points at random", panel=SWEEP)
]
SearchCount = Annotated[
    int | None,
    values.whole("--search", metavar="RUNS", panel=SWEEP,
                 about="Let Optuna choose this many points, each from what earlier ones have shown"),
]  # fmt: skip
AtOnce = Annotated[
    int | None,
    values.whole("--at-once", metavar="RUNS", panel=SWEEP,
                 about="With --on slurm: how many run at a time [default: as many as Slurm allows; of a search a "
                   "third, at least 3 and at most 10, so that later points learn from earlier ones]"),
]  # fmt: skip
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Queue many runs without a question", rich_help_panel=SWEEP)]


def sweep(
    context: typer.Context,
    random: RandomCount = None,
    search: SearchCount = None,
    at_once: AtOnce = None,
    yes: Yes = False,
    **flags: Any,  # noqa: ANN401 - the training's own, by name
) -> None:
    """Queue trainings that differ in some settings."""
    kind = Kind(context.command.name)
    table = environment.require(submission.home_of(flags["on"], flags["home"])).options()
    found, fixed = axes.read(flags["set_"] or [], table.of(kind))
    if not found:
        _require_known(kind, fixed, table)
    context.obj = replace(_request(found, random, search, is_confirmed=yes), at_once=at_once)
    training.train(context, **{**flags, "set_": fixed})


def _require_known(kind: Kind, fixed: Sequence[str], table: OptionTable) -> None:
    """RecipeError for an option that isn't there: its values, which no comma separates, are why nothing varies."""
    typed = [presets.parse_override(text) for text in fixed]
    settings = {one.option: Setting(value=one.value, origin=one.origin) for one in typed if one.value is not None}
    wrong = list(options.problems(Recipe(kind=kind, name="", description="", settings=settings), table))
    if wrong:
        raise RecipeError(wrong)


def _request(found: Sequence[Axis], random: int | None, search: int | None, *, is_confirmed: bool) -> SweepRequest:
    """UsageError where nothing varies, or the points can't be told."""
    if not found:
        raise UsageError("nothing varies", "several values of an option: --set learning_rate=5e-5,1e-4,2e-4")
    if random is not None and search is not None:
        raise UsageError("--random and --search both choose the points", "give one of them")
    way = Way.RANDOM if random is not None else Way.SEARCH if search is not None else Way.GRID
    ranged = next((axis for axis in found if axis.range), None)
    if way is Way.GRID and ranged is not None:
        raise UsageError(f"{ranged.option} is a range, of which a grid has no end", "add --random 8, or --search 12")
    return SweepRequest(tuple(found), way, random or search, is_confirmed)


def _signature() -> inspect.Signature:
    """The training's flags, which stand once, and those of a sweep."""
    own = [one for one in _parameters(sweep) if one.kind is not inspect.Parameter.VAR_KEYWORD]
    names = {one.name for one in own}
    theirs = [one for one in _parameters(training.train) if one.name not in names]
    return inspect.Signature([*own, *map(several_values.refused, theirs)])


def _parameters(function: Any) -> list[inspect.Parameter]:  # noqa: ANN401 - any function
    hints = get_type_hints(function, include_extras=True)
    return [one.replace(annotation=hints[one.name]) for one in inspect.signature(function).parameters.values()
            if one.name in hints]  # fmt: skip


@functools.wraps(sweep)
def train(*given: Any, **named: Any) -> None:  # noqa: ANN401 - as typer calls it
    """Queue trainings that differ in some settings."""
    sweep(*given, **named)


train.__signature__ = _signature()  # type: ignore[attr-defined]
train.__annotations__ = {one.name: one.annotation for one in train.__signature__.parameters.values()}  # type: ignore[attr-defined]
