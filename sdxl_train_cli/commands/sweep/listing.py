"""`sdxl-train sweep list` and `show`: which sweeps there are, and what came of one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import formatting
from sdxl_train_cli.commands import workspace
from sdxl_train_cli.commands.workspace import HomeOption
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.sweeps import comparing, progress, words
from sdxl_train_cli.sweeps.store import Sweeps
from sdxl_train_cli.sweeps.sweep import Sweep
from sdxl_train_cli.ui import console, printing, sweep_page, wrapping

_MANY, _MOST_SHOWN = 60, 40
"""Points from which on only the best are shown, and how many of them."""

SweepName = Annotated[str, typer.Argument(metavar="NAME", help="Name from `sdxl-train sweep list`", show_default=False)]
All = Annotated[bool, typer.Option("--all", "-a", help="Every point, not only the best of many")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
To = Annotated[Path | None, typer.Option("--to", "-o", metavar="FILE", help="Write a web page with curves and samples")]


def list_(as_json: Json = False, home: HomeOption = None) -> None:
    """List sweeps, newest first."""
    where = workspace.home(home)
    found = Sweeps(where.sweeps).all()
    followed = progress.follow_all(found, Queue(where.queue), where.cluster)
    rows = [(sweep, dict(Counter(one.state for one in points))) for sweep, points in zip(found, followed, strict=True)]
    if as_json:
        printing.data([{"name": sweep.name, "kind": sweep.kind, "preset": sweep.preset, "way": sweep.way.value,
                        "count": sweep.count, "made": sweep.made.isoformat(), "states": states}
                       for sweep, states in rows])  # fmt: skip
        return
    if not found:
        printing.err("no sweeps; sdxl-train sweep lora --set learning_rate=5e-5,1e-4 queues one")
        return
    table = [("name", "kind", "preset", "varies", "points", "made"), *(_row(*row) for row in rows)]
    printing.document("\n".join(wrapping.aligned(table)))


def _row(sweep: Sweep, states: dict[str, int]) -> tuple[str, ...]:
    told = ", ".join(f"{count} {state}" for state, count in states.items())
    if not sweep.is_queued and set(states) == {progress.GONE}:
        told = "cut off before it was queued"
    varies = formatting.some([axis.option for axis in sweep.axes], 3)
    return sweep.name, sweep.kind, sweep.preset, varies, told, formatting.moment(sweep.made)


def show(name: SweepName, to: To = None, all_: All = False, as_json: Json = False, home: HomeOption = None) -> None:
    """Show a sweep: its points, what came of them, which is best."""
    where = workspace.home(home)
    sweep = Sweeps(where.sweeps).require(name)
    (followed,) = progress.follow_all([sweep], Queue(where.queue), where.cluster)
    with console.picture_progress("reading runs") as on_progress:
        found = comparing.compare(followed, on_progress)
    if to is not None:
        sweep_page.write(sweep, found, to)
        console.note(f"page: {to}")
    if as_json:
        printing.data(words.data(sweep, found))
        return
    points = words.ordered(found)
    shown = points if all_ or len(points) <= _MANY else points[:_MOST_SHOWN]
    printing.document("\n".join(wrapping.aligned([words.headings(sweep), *(words.row(sweep, one) for one in shown)])))
    if len(shown) < len(points):
        console.note(f"the best {len(shown)} of {len(points)}; all of them: --all")
    console.note(f"best: {words.headline(found)}" if found.best else words.headline(found))
    for reason in words.reasons(sweep, found):
        console.note(f"  {reason}")
    for line in words.causes(found):
        console.note(f"  {line}")
    if found.best is not None and found.best.followed.run is not None:
        console.note(f"to keep: sdxl-train best {formatting.shell_word(found.best.followed.run.folder)}")
