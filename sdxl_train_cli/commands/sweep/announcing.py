"""Say what a sweep takes before it is queued, and what of it can be compared."""

from __future__ import annotations

from collections.abc import Sequence

from sdxl_train_cli import formatting
from sdxl_train_cli.commands.sweep.checking import CheckedSweep
from sdxl_train_cli.errors import Problem
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.run import validating
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.sweeps import measuring
from sdxl_train_cli.sweeps.sweep import Way
from sdxl_train_cli.ui import console, printing, wrapping

_MOST_SHOWN = 12


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
            f"  {found.request.at_once} at a time; each later point follows from those that have ended by then"
        )
        console.note("  one that is clearly behind is stopped early")
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


def tell_arrays(count: int, at_once: int | None) -> None:
    """Say so where a cluster takes the points as several arrays."""
    if count > 1:
        order = "" if at_once is None else "; each starts when the one before has ended, as --at-once counts within one"
        console.note(f"{count} arrays, as Slurm limits their length here{order}")


def show(found: CheckedSweep, scripts: Sequence[str], *, as_json: bool) -> None:
    """What would be queued: a command line for each point. For a cluster, the script of each array."""
    if as_json:
        rows = [{"name": one.name, "settings": dict(one.settings), "argv": one.prepared.argv} for one in found.points]
        printing.data({"scripts": list(scripts), "points": rows} if scripts else rows)
        return
    if scripts:
        printing.document("\n".join(scripts).rstrip("\n"))
        return
    for point in found.points:
        printing.out(formatting.shell_line(point.prepared.argv))
