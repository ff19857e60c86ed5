"""`sdxl-train runs list`: every run, on stdout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from sdxl_train_cli import files, formatting
from sdxl_train_cli.cluster import listed_runs
from sdxl_train_cli.commands import values, workspace
from sdxl_train_cli.commands.cluster import submitted
from sdxl_train_cli.commands.workspace import HomeOption, OutputOption
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.records import metrics, record, run_folders
from sdxl_train_cli.records.history import RunState
from sdxl_train_cli.records.run_list import Listed
from sdxl_train_cli.ui import printing, wrapping

if TYPE_CHECKING:
    from sdxl_train_cli.cluster.overview import TaskView  # a tenth of the time, where there is no cluster

Json = Annotated[bool, typer.Option("--json", help="Print JSON")]

Part = Annotated[str | None, typer.Option("--name", "-n", metavar="TEXT", help="Only runs with this in their name")]
State = Annotated[
    RunState | None,
    values.one_of("--state", RunState, about="Only runs that are so"),
]
Last = Annotated[int | None, values.whole("--last", metavar="COUNT", about="Only the newest [default: all]")]


def list_(
    output: OutputOption = None, name: Part = None, state: State = None, last: Last = None, as_json: Json = False,
    home: HomeOption = None,
) -> None:  # fmt: skip
    """List every run, newest first."""
    folder = workspace.output(output)
    if output is not None and not files.exists(folder):
        raise UsageError(f"no folder at {folder}", "give -o the folder that holds the runs")
    all_, waiting = listed_runs.look(folder, workspace.home(home))
    fitting = [one for one in all_ if (name or "") in one.folder_name and state in {None, one.state}]
    found = fitting if last is None else fitting[:last]
    waiting = waiting if state is None and last is None else []
    if as_json:
        printing.data([*map(submitted.facts, waiting), *(facts(entry) for entry in found)])
        return
    if all_ and not found and not waiting:
        printing.err(f"none of {formatting.counted(len(all_), 'run')} in {folder} is like that")
        return
    if not found and not waiting:
        problem = run_folders.none_listed(folder)
        printing.err(problem.message)
        printing.err_hint(problem)
        return
    # Plain text: rendering a table of a thousand rows takes longer than everything else.
    printing.document("\n".join(lines(found, waiting)))
    for entry in found:
        if entry.problem:
            printing.err(f"{entry.folder}: {entry.problem}")


def lines(found: Sequence[Listed], waiting: Sequence[TaskView]) -> list[str]:
    """Runs and what waits as a table."""
    headings = ("name", "state", "kind", "preset", "steps", "loss", "time", "started")
    return wrapping.aligned([headings, *map(submitted.row, waiting), *map(_row, found)])


def facts(entry: Listed) -> dict[str, object]:
    """A run as JSON."""
    return {
        "name": entry.name,
        "folder": str(entry.folder),
        "state": entry.state.value,
        "problem": entry.problem,
        "kind": entry.kind,
        "preset": entry.preset,
        "pictures": entry.pictures,
        "steps": entry.steps,
        "loss": plain(entry.loss),
        "seconds": entry.seconds,
        "found": entry.found,
        "started": entry.started.isoformat() if entry.started else None,
        "ended": entry.ended.isoformat() if entry.ended else None,
    }


def plain(fact: object) -> object:
    """Convert NaN and infinity to text, as JSON has neither."""
    if isinstance(fact, float) and not math.isfinite(fact):
        return "nan" if math.isnan(fact) else "inf"
    return fact


def _row(entry: Listed) -> tuple[str, ...]:
    steps, loss = entry.steps, entry.loss
    if entry.state is RunState.RUNNING:
        last = metrics.last(entry.folder / record.METRICS)
        steps, loss = (None, None) if last is None else (last.step, last.loss)
    return (
        entry.folder_name,  # the name to type, even if the folder was renamed
        entry.state.value,
        entry.kind or "",
        entry.preset or "",
        "" if steps is None else str(steps),
        "" if loss is None else f"{loss:.4f}",
        formatting.clock(entry.seconds),
        formatting.moment(entry.started),
    )
