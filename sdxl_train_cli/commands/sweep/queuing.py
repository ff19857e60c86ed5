"""Check a sweep's points as runs are checked, say what they take, and queue them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

import typer

from sdxl_train_cli import __version__, formatting, gpu
from sdxl_train_cli.commands import asking, workspace
from sdxl_train_cli.errors import Problem, SdxlTrainError, UsageError
from sdxl_train_cli.jobs import entering, worker
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.run import preparation, repeating, validating
from sdxl_train_cli.run.guards import Guard
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.sweeps import axes, measuring, planning, shared_caches, submitting, suggestions
from sdxl_train_cli.sweeps.axes import Axis, Settings
from sdxl_train_cli.sweeps.planning import PlannedPoint
from sdxl_train_cli.sweeps.shared_caches import SharedCaches
from sdxl_train_cli.sweeps.store import Sweeps
from sdxl_train_cli.sweeps.submitting import Submit
from sdxl_train_cli.sweeps.sweep import KeptAxis, KeptRange, Point, Sweep, Way
from sdxl_train_cli.ui import console, printing, wrapping

_ASKED_FROM = 13
"""Points. A dozen is what a person has in mind; more is easily typed by mistake."""
_MOST_SHOWN = 12


@dataclass(frozen=True)
class SweepRequest:
    """What was typed beside the training's own flags."""

    axes: tuple[Axis, ...]
    way: Way
    count: int | None
    """Points, where they are drawn or searched for."""
    is_confirmed: bool


@dataclass(frozen=True)
class CheckedSweep:
    """A sweep whose first points would all train."""

    request: SweepRequest
    base: Choices
    points: list[PlannedPoint]
    caches: SharedCaches

    @property
    def count(self) -> int:
        """Points in all; a search makes the others later."""
        return self.request.count or len(self.points)


def asked(context: typer.Context) -> SweepRequest | None:
    """What was typed after `sweep`. None for any other command."""
    found = context.obj
    return found if isinstance(found, SweepRequest) else None


def check(request: SweepRequest, base: Choices, where: Home) -> CheckedSweep:
    """Every point that is known now, checked as a run is. Raises what is wrong with any, and writes nothing."""
    user_presets = workspace.user_presets()
    base = replace(base, name=_free_name(base.name, where))

    def prepare(choices: Choices) -> Prepared:
        return preparation.prepare(choices, where, user_presets)

    if request.way is Way.SEARCH:
        suggestions.require()
    points = first_points(request)
    with workspace.picture_progress() as on_progress:
        first = preparation.prepare(planning.choices_of(base, base.name, points[0]), where, user_presets, on_progress)
    caches = shared_caches.plan(first.recipe, request.axes, base.overrides)
    shared = planning.with_overrides(base, caches.overrides)
    if caches.overrides:
        try:
            prepare(planning.choices_of(shared, base.name, points[0]))
        except SdxlTrainError as error:
            shared, caches = base, SharedCaches(words=f"not shared: {error.problems[0].message}")
    found = CheckedSweep(request, shared, planning.plan(shared, points, prepare), caches)
    if request.way is Way.SEARCH:
        _require_judgeable(found)
    return found


def _free_name(wanted: str, where: Home) -> str:
    known = Queue(where.queue)
    return Sweeps(where.sweeps).free_name(
        wanted, lambda one: bool(known.with_tokens([point.token for point in one.points]))
    )


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


def first_points(request: SweepRequest) -> list[Settings]:
    """The points that are known before anything has trained."""
    if request.way is Way.GRID:
        return list(axes.grid(request.axes))
    count = request.count or 1
    return axes.at_random(request.axes, min(count, _at_once()) if request.way is Way.SEARCH else count)


def _at_once() -> int:
    """Points of a search that are open at a time: as many as the queue can run."""
    return max(1, len(gpu.devices()))


def tell(found: CheckedSweep) -> None:
    """Say what will be run, for how long, and what of it can be compared."""
    _tell_once([point.prepared for point in found.points])
    varied = [axis.option for axis in found.request.axes]
    for one in found.base.overrides:
        if one.option in varied and str(one.origin).startswith("--"):
            console.warn(Problem(f"{one.origin} does not count: {one.option} is varied", f"leave out {one.origin}"))
    console.note(_length(found))
    rows = [(point.name, *point.settings.values(), f"{point.steps} steps") for point in found.points]
    for line in wrapping.aligned(rows[:_MOST_SHOWN]):
        console.note(f"  {line}")
    if len(rows) > _MOST_SHOWN:
        console.note(f"  and {len(rows) - _MOST_SHOWN} more")
    if found.request.way is Way.SEARCH:
        console.note(
            "  each next point follows from those that have ended; one that is clearly behind is stopped early"
        )
    console.note(f"caches: {found.caches.words}")
    kind = found.base.kind
    if not all(validating.holds_back(point.prepared.recipe) for point in found.points):
        console.warn(Problem("no pictures are held back: nothing will tell which point is best", _judging(kind)))
    elif unlike := measuring.unrankable(kind, varied):
        names = formatting.some(unlike, 3)
        console.warn(Problem(f"{names} changes how the loss itself is measured: these points won't be ranked", _LOOK))


_LOOK = "compare their sample pictures: sdxl-train sweep show NAME --to page.html"


def _length(found: CheckedSweep) -> str:
    """Runs, steps, and the time where it is known."""
    share = found.count / len(found.points)
    known = [point.seconds for point in found.points]
    time = "the time is not known: no run with these settings was measured on this machine"
    if all(one is not None for one in known):
        whole = share * sum(one or 0.0 for one in known)
        time = f"about {formatting.clock(whole)} on one GPU, as measured there"
    steps = round(share * sum(point.steps for point in found.points))
    return f"{formatting.counted(found.count, 'run')}, {steps} steps in all; {time}"


def _judging(kind: Kind) -> str:
    return "add --validate" if kind.is_network else _LOOK


def _tell_once(prepared: Sequence[Prepared]) -> None:
    for problem in dict.fromkeys(problem for one in prepared for problem in one.warnings):
        console.warn(problem)
    for note in dict.fromkeys(note for one in prepared for note in one.notes):
        console.note(note)


def require_wanted(found: CheckedSweep) -> None:
    """Ask about a large sweep. UsageError where the answer is no, or nobody is there to ask."""
    if found.request.is_confirmed or found.count < _ASKED_FROM:
        return
    words = f"{found.count} runs are many"
    if not asking.is_possible():
        raise UsageError(words, "add --yes if you mean it")
    if not asking.confirm(f"Queue {found.count} runs?", default=True):
        raise UsageError("nothing was queued", "fewer values, or --random 8 for some of them")


def queue(
    found: CheckedSweep, where: Home, submit: Submit, guards_off: frozenset[Guard] = frozenset(), *, step_downs: int = 0
) -> Sweep:
    """Record the sweep, then hand its points over. A kill in between leaves a record that the next one replaces."""
    sweeps = Sweeps(where.sweeps)
    with sweeps.changing():
        name = _free_name(found.base.name, where)  # another command may have taken it since the check
        if name != found.base.name:
            again = replace(found.base, name=name)
            user_presets = workspace.user_presets()
            points = [point.settings for point in found.points]
            planned = planning.plan(again, points, lambda choices: preparation.prepare(choices, where, user_presets))
            found = replace(found, base=again, points=planned)
        sweeps.remove(name)  # of one that was cut off
        waiting = [entering.waiting(point.prepared, guards_off, step_downs=step_downs) for point in found.points]
        kept = _record(found, [one.token for one in waiting], guards_off, step_downs)
        sweeps.write(kept)
        tokens = submit(waiting, at_once=None)
        queued = tuple(
            point.model_copy(update={"token": token}) for point, token in zip(kept.points, tokens, strict=True)
        )
        kept = kept.model_copy(update={"points": queued, "is_queued": True})
        sweeps.write(kept)
    return kept


def _record(found: CheckedSweep, tokens: Sequence[str], guards_off: frozenset[Guard], step_downs: int) -> Sweep:
    base, request, first = found.base, found.request, found.points[0]
    is_search = request.way is Way.SEARCH
    points = [
        Point(name=point.name, settings=dict(point.settings), token=token)
        for point, token in zip(found.points, tokens, strict=True)
    ]
    return Sweep(
        sdxl_train=__version__, name=base.name, kind=base.kind.value, preset=first.prepared.recipe.name,
        way=request.way, made=datetime.now(timezone.utc), output=first.prepared.run.folder.parent,
        axes=tuple(map(_kept, request.axes)), points=tuple(points), count=found.count, caches=found.caches.words,
        shares_caches=found.caches.are_shared,
        guards_off=tuple(sorted(guard.value for guard in guards_off)), step_downs=step_downs,
        base=repeating.record(first.prepared).model_dump_json(exclude_unset=True) if is_search else "",
        prunes=is_search, at_once=_at_once(),
    )  # fmt: skip


def _kept(axis: Axis) -> KeptAxis:
    kept = (
        None
        if axis.range is None
        else KeptRange(low=axis.range.low, high=axis.range.high, is_whole=axis.range.is_whole)
    )
    return KeptAxis(option=axis.option, values=axis.values, range=kept)


def take(
    request: SweepRequest, base: Choices, where: Home, guards_off: frozenset[Guard], step_downs: int,
    *, dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Check, say, ask, queue."""
    found = check(request, base, where)
    tell(found)
    if dry_run:
        show(found, as_json=as_json)
        return
    require_wanted(found)
    local = Queue(where.queue)
    kept = queue(found, where, submitting.LocalQueue(local), guards_off, step_downs=step_downs)
    if as_json:
        printing.data({"sweep": kept.name, "points": [point.name for point in kept.points]}, indent=None)
    else:
        printing.out(kept.name)
    if not worker.is_working(local):
        console.note("its runs wait; to work off the queue: sdxl-train queue start")
    console.note(f"to follow it: sdxl-train sweep show {formatting.shell_word(kept.name)}")


def show(found: CheckedSweep, *, as_json: bool) -> None:
    """What would be queued: a command line for each point."""
    if as_json:
        rows = [{"name": one.name, "settings": dict(one.settings), "argv": one.prepared.argv} for one in found.points]
        printing.data(rows)
        return
    for point in found.points:
        printing.out(formatting.shell_line(point.prepared.argv))
