"""`sdxl-train runs list`, `show` and `diff`: runs and their details, on stdout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import files, formatting
from sdxl_train_cli.cluster.overview import TaskView
from sdxl_train_cli.commands import completion, values, workspace
from sdxl_train_cli.commands.cluster import submitted
from sdxl_train_cli.commands.workspace import HomeOption, OutputOption
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.layout import PROJECT_FILE
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.records import comparison, history, metrics, record, run_folders, validation
from sdxl_train_cli.records.comparison import Fact
from sdxl_train_cli.records.history import Listed, Loaded, RunState
from sdxl_train_cli.sdscripts import results, states
from sdxl_train_cli.sdscripts.results import CheckpointFile
from sdxl_train_cli.ui import console, printing, wrapping

_WATCH_SECONDS = 5.0

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A name from `sdxl-train runs list`, or a run's folder",
        show_default=False,
        autocompletion=completion.run_names,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
All = Annotated[bool, typer.Option("--all", "-a", help="Every setting, including the preset's own")]


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
    all_, waiting = submitted.look(folder, workspace.home(home))
    fitting = [one for one in all_ if (name or "") in one.folder.name and state in {None, one.state}]
    found = fitting if last is None else fitting[:last]
    waiting = waiting if state is None and last is None else []
    if as_json:
        _print_json([*map(submitted.facts, waiting), *(_facts(entry) for entry in found)])
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
    printing.document("\n".join(_lines(found, waiting)))
    for entry in found:
        if entry.problem:
            printing.err(f"{entry.folder}: {entry.problem}")


def watch(output: OutputOption = None, home: HomeOption = None) -> None:
    """Watch every run: what trains and how far it is, what waits on a cluster."""
    folder, where = workspace.output(output), workspace.home(home)
    console.redraw(lambda: _lines(*submitted.look(folder, where)), _WATCH_SECONDS)


def show(run: Run, output: OutputOption = None, all_: All = False, as_json: Json = False) -> None:
    """Show one run: settings, results, how it ended, what to do next."""
    entry = history.require(run, workspace.output(output))
    made = results.checkpoints(entry.folder, entry.name)
    saved = results.states(entry.folder, entry.name)
    if as_json:
        _print_json(_all_facts(entry, made, saved))
        return
    console.table(("run", entry.name), _overview(entry))
    settings = [
        (name, _text(setting.shown), str(setting.origin))
        for name, setting in sorted(entry.record.settings.items())
        if all_ or _is_own(setting.origin)
    ]
    rows_of_files = [
        (one.path.name, one.moment, formatting.size(one.size_bytes) + ("" if one.is_whole else ", incomplete"))
        for one in made
    ]
    option = "option" if all_ else "changed option"
    for headings, rows in (((option, "value", "from"), settings), (("checkpoint", "saved at", "size"), rows_of_files)):
        if rows:
            console.out("")
            console.table(headings, rows)
    if entry.can_go_on and states.complete(entry.folder):
        console.note(f"to resume: sdxl-train runs resume {formatting.shell_word(entry.folder)}")


def diff(run: Run, other: Run, output: OutputOption = None, as_json: Json = False) -> None:
    """Compare two runs: settings, data, results."""
    folder = workspace.output(output)
    left, right = history.require(run, folder), history.require(other, folder)
    found = comparison.differences(left, right)
    if as_json:
        differences = [
            {"section": one.section, "name": one.name, "left": _plain(one.left), "right": _plain(one.right)}
            for one in found
        ]
        _print_json({"left": str(left.folder), "right": str(right.folder), "differences": differences})
        return
    if not found:
        console.note("no recorded value differs")
        return
    headings = (left.name, right.name) if left.name != right.name else (str(left.folder), str(right.folder))
    rows = [(one.section, one.name, comparison.text(one.left), comparison.text(one.right)) for one in found]
    console.table(("", "", *headings), rows)


def _lines(found: Sequence[Listed], waiting: Sequence[TaskView]) -> list[str]:
    headings = ("name", "state", "kind", "preset", "steps", "loss", "time", "started")
    return wrapping.aligned([headings, *map(submitted.row, waiting), *(_row(entry) for entry in found)])


def _print_json(content: object) -> None:
    printing.data(content)


def _facts(entry: Listed) -> dict[str, object]:
    outcome, kept = entry.outcome, entry.record
    return {
        "name": entry.name,
        "folder": str(entry.folder),
        "state": entry.state.value,
        "problem": entry.problem,
        "kind": kept.kind,
        "preset": kept.preset,
        "pictures": kept.pictures,
        "steps": outcome.steps if outcome else None,
        "loss": _plain(outcome.loss) if outcome else None,
        "seconds": outcome.seconds if outcome else None,
        "found": outcome.examined[-1].summary if outcome and outcome.examined else None,
        "started": kept.started.isoformat() if kept.started else None,
        "ended": outcome.ended.isoformat() if outcome and outcome.ended else None,
    }


def _all_facts(entry: Loaded, made: Sequence[CheckpointFile], states: Sequence[Path]) -> dict[str, object]:
    checkpoints = [
        {"path": str(one.path), "moment": one.moment, "bytes": one.size_bytes, "whole": one.is_whole} for one in made
    ]
    return {
        **_facts(entry),
        "record": entry.record.model_dump(mode="json"),
        "outcome": entry.outcome.model_dump(mode="json", exclude={"seconds_per_step"}) if entry.outcome else None,
        "checkpoints": checkpoints,
        "states": [str(path) for path in states],
    }


def _plain(fact: Fact) -> object:
    """Convert NaN and infinity to text, as JSON has neither."""
    if isinstance(fact, float) and not math.isfinite(fact):
        return "nan" if math.isnan(fact) else "inf"
    return fact


def _row(entry: Listed) -> tuple[str, ...]:
    outcome, kept = entry.outcome, entry.record
    steps = outcome.steps if outcome else None
    loss = outcome.loss if outcome else None
    if entry.state is RunState.RUNNING:
        last = next(reversed(metrics.load(entry.folder / record.METRICS)), None)
        steps, loss = (None, None) if last is None else (last.step, last.loss)
    return (
        entry.folder.name,  # the name to type, even if the folder was renamed
        entry.state.value,
        kept.kind or "",
        kept.preset or "",
        "" if steps is None else str(steps),
        "" if loss is None else f"{loss:.4f}",
        formatting.clock(outcome.seconds if outcome else None),
        formatting.moment(kept.started),
    )


def _overview(entry: Loaded) -> list[tuple[str, str]]:
    kept, outcome, inputs, gpu = entry.record, entry.outcome, entry.record.inputs, entry.record.gpu
    installed = kept.environment
    validated = validation.load(entry.folder)
    steps = outcome.steps if outcome else None
    facts: list[tuple[str, object]] = [
        ("state", entry.state.value if entry.problem is None else f"{entry.state.value}: {entry.problem}"),
        ("note", outcome.note if outcome else None),
        ("cause", outcome.cause if outcome else None),
        ("remedy", "; ".join((outcome.remedy or "").splitlines()) if outcome else None),
        *((f"found in {one.file}", one.summary) for one in (outcome.examined if outcome else ())),
        ("kind", kept.kind),
        ("preset", kept.preset),
        ("folder", entry.folder),
        ("started", formatting.moment(kept.started)),
        ("steps", steps),
        ("loss", None if outcome is None or outcome.loss is None else f"{outcome.loss:.4f}"),
        ("held-back pictures", None if validated is None else validated.words),
        ("gap", None if validated is None else validated.gap_words),
        ("samples", _samples(entry)),
        ("time", formatting.clock(outcome.seconds if outcome else None)),
        ("peak memory", f"{outcome.peak_gib:.1f} GB" if outcome and outcome.peak_gib is not None else None),
        ("model", inputs.model if inputs else None),
        ("vae", inputs.vae if inputs else None),
        ("trigger", inputs.trigger if inputs else None),
    ]
    for folder in kept.dataset.folders if kept.dataset else ():
        what = "regularisation" if folder.is_reg else "data"
        facts.append((what, f"{folder.path}: {folder.pictures} pictures, each {folder.repeats} times"))
    if kept.dataset is None:
        facts.append(("pictures", kept.pictures))
    facts += [
        ("GPU", f"{gpu.index}: {gpu.name}, driver {gpu.driver or 'unknown'}" if gpu else None),
        ("processes", inputs.processes if inputs is not None and inputs.processes > 1 else None),
        ("sd-scripts", f"{installed.ref or ''} {(installed.commit or '')[:10]}".strip() if installed else None),
        ("sdxl-train", kept.sdxl_train),
        ("started again", len(kept.attempts) or None),
        ("command line", formatting.shell_line(kept.argv)),
    ]
    return [(name, str(fact)) for name, fact in facts if fact not in {None, ""}]


def _samples(entry: Loaded) -> str | None:
    """How many there are, and the newest."""
    found = results.samples(entry.folder, entry.name)
    return f"{formatting.counted(len(found), 'picture')}, the newest: {found[-1].path}" if found else None


def _is_own(origin: Origin) -> bool:
    """Whether the user set the option besides the preset: by a flag, or in the project file."""
    return origin.line is None or origin.name == PROJECT_FILE


def _text(value: Fact) -> str:
    return comparison.text(value)
