"""Record a sweep whose points were checked, and hand them to the queue or a cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone

from sdxl_train_cli import __version__, formatting
from sdxl_train_cli.cluster.submitting import NotTakenBackError
from sdxl_train_cli.commands import asking
from sdxl_train_cli.commands.cluster import submission
from sdxl_train_cli.commands.sweep import announcing, checking
from sdxl_train_cli.commands.sweep.checking import CheckedSweep, SweepRequest
from sdxl_train_cli.commands.sweep.engines import SweepEngine
from sdxl_train_cli.errors import SdxlTrainError, UsageError
from sdxl_train_cli.jobs import entering, job, worker
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
        waiting = _waiting(found, engine, guards_off, step_downs)
        kept = _record(found, waiting, guards_off, step_downs)
        kept = kept.model_copy(update={"on_slurm": engine.cluster is not None})
        sweeps.write(kept)
        _submit(waiting, kept, engine, found.request.at_once)
        kept = kept.model_copy(update={"is_queued": True})
        with contextlib.suppress(OSError):  # the record is whole, and jobs with its tokens say that they are there
            sweeps.write(kept)
    return kept


def _submit(waiting: Sequence[Waiting], kept: Sweep, engine: SweepEngine, at_once: int | None) -> None:
    """Hand them over. What refuses them leaves no sweep; what could not be taken back keeps it."""
    try:
        engine.submit(waiting, at_once=at_once)
    except NotTakenBackError:
        raise
    except (SdxlTrainError, OSError):
        Sweeps(engine.home.sweeps).remove(kept.name)
        raise


def _waiting(found: CheckedSweep, engine: SweepEngine, guards_off: frozenset[Guard], step_downs: int) -> list[Waiting]:
    """A job for each point. On a cluster those of a search choose their points as they start."""
    known = [entering.waiting(point.prepared, guards_off, step_downs=step_downs) for point in found.points]
    if engine.cluster is None or found.request.way is not Way.SEARCH:
        return known
    name = found.base.name
    return [replace(known[0], name=f"{name}-{number}", token=job.new_token(), search=name)
            for number in range(1, found.count + 1)]  # fmt: skip


def _record(found: CheckedSweep, waiting: Sequence[Waiting], guards_off: frozenset[Guard], step_downs: int) -> Sweep:
    base, request, first = found.base, found.request, found.points[0]
    is_search = request.way is Way.SEARCH
    known = iter(found.points)
    points = [
        Point(name=one.name, settings={} if one.search else dict(next(known).settings), token=one.token)
        for one in waiting
    ]
    return Sweep(
        sdxl_train=__version__, name=base.name, kind=base.kind.value, preset=first.prepared.recipe.name,
        way=request.way, made=datetime.now(timezone.utc), output=first.prepared.run.folder.parent,
        axes=tuple(map(_kept, request.axes)), points=tuple(points), count=found.count, caches=found.caches.words,
        shares_caches=found.caches.are_shared,
        guards_off=tuple(sorted(guard.value for guard in guards_off)), step_downs=step_downs,
        base=repeating.record(first.prepared).model_dump_json(exclude_unset=True) if is_search else "",
        prunes=is_search, at_once=request.at_once or 1,
    )  # fmt: skip


def _kept(axis: Axis) -> KeptAxis:
    kept = (
        None
        if axis.range is None
        else KeptRange(low=axis.range.low, high=axis.range.high, is_whole=axis.range.is_whole)
    )
    return KeptAxis(option=axis.option, values=axis.values, range=kept)


def _scripts(found: CheckedSweep, engine: SweepEngine, guards_off: frozenset[Guard], step_downs: int) -> list[str]:
    """A cluster's scripts. Empty for this computer's queue."""
    if engine.cluster is None:
        return []
    return engine.cluster.scripts(_waiting(found, engine, guards_off, step_downs), found.request.at_once)


def take(
    request: SweepRequest, base: Choices, engine: SweepEngine, guards_off: frozenset[Guard], step_downs: int,
    *, dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Check, say, ask, queue."""
    found = checking.check(request, base, engine)
    announcing.tell(found)
    scripts = _scripts(found, engine, guards_off, step_downs)
    announcing.tell_arrays(len(scripts), found.request.at_once)
    if dry_run:
        announcing.show(found, scripts, as_json=as_json)
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
