"""Check a sweep's points as runs are checked. Nothing is written."""

from __future__ import annotations

from dataclasses import dataclass, replace

import typer

from sdxl_train_cli import gpu
from sdxl_train_cli.commands.sweep.engines import SweepEngine
from sdxl_train_cli.errors import SdxlTrainError, UsageError
from sdxl_train_cli.run import validating
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.sweeps import axes, measuring, planning, shared_caches, suggestions
from sdxl_train_cli.sweeps.axes import Axis, Settings
from sdxl_train_cli.sweeps.planning import PlannedPoint
from sdxl_train_cli.sweeps.shared_caches import SharedCaches
from sdxl_train_cli.sweeps.sweep import Way
from sdxl_train_cli.ui import console


@dataclass(frozen=True)
class SweepRequest:
    """What was typed beside the training's own flags."""

    axes: tuple[Axis, ...]
    way: Way
    count: int | None
    """Points, where they are drawn or searched for."""
    is_confirmed: bool
    at_once: int | None = None
    """Points that a cluster may run at a time. None leaves that to it."""


@dataclass(frozen=True)
class CheckedSweep:
    """A sweep whose first points would all train."""

    request: SweepRequest
    base: Choices
    points: list[PlannedPoint]
    caches: SharedCaches

    @property
    def count(self) -> int:
        """Points in all, of which there may be fewer than were asked for; a search makes the others later."""
        if self.request.way is not Way.SEARCH:
            return len(self.points)
        wanted = self.request.count or len(self.points)
        return min(wanted, axes.size(self.request.axes) or wanted)


def asked(context: typer.Context) -> SweepRequest | None:
    """What was typed after `sweep`. None for any other command."""
    found = context.obj
    return found if isinstance(found, SweepRequest) else None


def check(request: SweepRequest, base: Choices, engine: SweepEngine) -> CheckedSweep:
    """Every point that is known now, checked as a run is. Raises what is wrong with any, and writes nothing."""
    _require_possible(request, engine)
    if request.way is Way.SEARCH:
        suggestions.require()
        request = replace(request, at_once=_open_at_once(request, base, engine))
    base = replace(base, name=engine.free_name(base.name))
    points = _first_points(request, engine)
    with console.picture_progress() as on_progress:
        first = engine.prepare(planning.choices_of(base, base.name, points[0]), on_progress)
    if engine.cluster is None or request.at_once == 1:
        caches = shared_caches.plan(first.recipe, request.axes, base.overrides)
    else:
        caches = shared_caches.keep_apart(first.recipe, request.axes, base.overrides)
    shared = planning.with_overrides(base, caches.overrides)
    if caches.are_shared and caches.overrides:
        try:
            engine.prepare(planning.choices_of(shared, base.name, points[0]))
        except SdxlTrainError as error:
            shared, caches = base, SharedCaches(words=f"not shared: {error.problems[0].message}")
    found = CheckedSweep(request, shared, planning.plan(shared, points, engine.prepare), caches)
    if request.way is Way.SEARCH:
        _require_judgeable(found)
    return found


def _require_possible(request: SweepRequest, engine: SweepEngine) -> None:
    """UsageError for what the queue alone can do, or a cluster alone."""
    if engine.cluster is None and request.at_once is not None:
        words = "--at-once is for a cluster: this computer's queue runs one on each GPU"
        raise UsageError(words, f"leave out --at-once, or add --on slurm --at-once {request.at_once}")
    if request.way is Way.SEARCH and request.count is not None and request.at_once is not None:
        usual = suggestions.at_random_first(request.count)
        if usual < request.count <= request.at_once:
            words = f"--at-once {request.at_once} starts every point of the search before any has ended to learn from"
            raise UsageError(words, f"--at-once {usual}, or --random {request.count} in place of --search")


def _require_judgeable(found: CheckedSweep) -> None:
    """UsageError where a search could not tell a better point from a worse one."""
    if not all(validating.holds_back(point.prepared.recipe) for point in found.points):
        is_network = found.base.kind.is_network
        hint = "add --validate" if is_network else "leave out --search: --random 8 draws points and asks for no loss"
        raise UsageError("a search rests on the loss on held-back pictures, and none are held back", hint)
    unlike = measuring.unrankable(found.base.kind, [axis.option for axis in found.request.axes])
    if unlike:
        words = f"{unlike[0]} changes how the loss itself is measured, so that a search can't judge it"
        raise UsageError(words, f"leave out --search, or give {unlike[0]} one value")


def _first_points(request: SweepRequest, engine: SweepEngine) -> list[Settings]:
    """The points that are known before anything has trained. Of a search on a cluster, the first one stands for all."""
    if request.way is Way.GRID:
        return list(axes.grid(request.axes))
    count = request.count or 1
    if request.way is Way.SEARCH:
        count = 1 if engine.cluster is not None else min(count, request.at_once or 1)
    return axes.at_random(request.axes, count)


def _open_at_once(request: SweepRequest, base: Choices, engine: SweepEngine) -> int:
    """Points of a search that are open at a time: as many as the queue can run.

    On a cluster as many as are drawn at random first, so that each later point has something to learn from.
    """
    if engine.cluster is None:
        is_named = base.gpu_index is not None or bool(base.gpu_indices)
        return 1 if is_named else max(1, len(gpu.devices()) // base.processes)
    return request.at_once or suggestions.at_random_first(request.count or 1)
