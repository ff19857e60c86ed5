"""Record a sweep whose points were checked, and hand them to the queue or a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone

from sdxl_train_cli import __version__, formatting
from sdxl_train_cli.commands import asking
from sdxl_train_cli.commands.cluster import submission
from sdxl_train_cli.commands.sweep import announcing, checking
from sdxl_train_cli.commands.sweep.checking import CheckedSweep, SweepRequest
from sdxl_train_cli.commands.sweep.engines import SweepEngine
from sdxl_train_cli.errors import SdxlTrainError, UsageError
from sdxl_train_cli.jobs import entering, worker
from sdxl_train_cli.jobs.job import Waiting
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.run import repeating
from sdxl_train_cli.run.guards import Guard
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.sweeps import planning
from sdxl_train_cli.sweeps.axes import Axis
from sdxl_train_cli.sweeps.store import Sweeps
from sdxl_train_cli.sweeps.sweep import KeptAxis, KeptRange, Point, Sweep, Way
from sdxl_train_cli.ui import console, printing

_ASKED_FROM = 13
"""Points. A dozen is what a person has in mind; more is easily typed by mistake."""


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
    found: CheckedSweep, engine: SweepEngine, guards_off: frozenset[Guard] = frozenset(), *, step_downs: int = 0
) -> Sweep:
    """Record the sweep, then hand its points over. A kill in between leaves a record that the next one replaces."""
    sweeps = Sweeps(engine.home.sweeps)
    with sweeps.changing():
        name = engine.free_name(found.base.name)  # another command may have taken it since the check
        if name != found.base.name:
            again = replace(found.base, name=name)
            planned = planning.plan(again, [point.settings for point in found.points], engine.prepare)
            found = replace(found, base=again, points=planned)
        sweeps.remove(name)  # of one that was cut off
        waiting = [entering.waiting(point.prepared, guards_off, step_downs=step_downs) for point in found.points]
        kept = _record(found, [one.token for one in waiting], guards_off, step_downs)
        kept = kept.model_copy(update={"on_slurm": engine.cluster is not None})
        sweeps.write(kept)
        tokens = _submit(waiting, kept, engine, found.request.at_once)
        queued = tuple(
            point.model_copy(update={"token": token}) for point, token in zip(kept.points, tokens, strict=True)
        )
        kept = kept.model_copy(update={"points": queued, "is_queued": True})
        sweeps.write(kept)
    return kept


def _submit(waiting: Sequence[Waiting], kept: Sweep, engine: SweepEngine, at_once: int | None) -> Sequence[str]:
    """Their tokens. What refuses them leaves no sweep."""
    try:
        return engine.submit(waiting, at_once=at_once)
    except SdxlTrainError:
        Sweeps(engine.home.sweeps).remove(kept.name)
        raise


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
        prunes=is_search, at_once=checking.open_at_once(base),
    )  # fmt: skip


def _kept(axis: Axis) -> KeptAxis:
    kept = (
        None
        if axis.range is None
        else KeptRange(low=axis.range.low, high=axis.range.high, is_whole=axis.range.is_whole)
    )
    return KeptAxis(option=axis.option, values=axis.values, range=kept)


def take(
    request: SweepRequest, base: Choices, engine: SweepEngine, guards_off: frozenset[Guard], step_downs: int,
    *, dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Check, say, ask, queue."""
    found = checking.check(request, base, engine)
    announcing.tell(found)
    if dry_run:
        waiting = [entering.waiting(point.prepared, guards_off, step_downs=step_downs) for point in found.points]
        script = None if engine.cluster is None else engine.cluster.script(waiting, request.at_once)
        announcing.show(found, script, as_json=as_json)
        return
    require_wanted(found)
    kept = queue(found, engine, guards_off, step_downs=step_downs)
    if as_json:
        printing.data({"sweep": kept.name, "points": [point.name for point in kept.points]}, indent=None)
    else:
        printing.out(kept.name)
    if engine.cluster is None and not worker.is_working(Queue(engine.home.queue)):
        console.note("its runs wait; to work off the queue: sdxl-train queue start")
    home = "" if engine.cluster is None else submission.flag(engine.home)
    console.note(f"to follow it: sdxl-train sweep show {formatting.shell_word(kept.name)}{home}")
