"""`sdxl-train runs show` and `diff`: one run, or what differs between two, on stdout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import formatting
from sdxl_train_cli.commands import completion, workspace
from sdxl_train_cli.commands.runs import listing
from sdxl_train_cli.commands.runs.listing import Json
from sdxl_train_cli.commands.workspace import OutputOption
from sdxl_train_cli.layout import PROJECT_FILE
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.records import comparison, history, run_list, validation
from sdxl_train_cli.records.comparison import Fact
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.sdscripts import results, states
from sdxl_train_cli.sdscripts.results import CheckpointFile
from sdxl_train_cli.ui import console, printing

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A name from `sdxl-train runs list`, or a run's folder",
        show_default=False,
        autocompletion=completion.run_names,
    ),
]
All = Annotated[bool, typer.Option("--all", "-a", help="Every setting, including the preset's own")]


def show(run: Run, output: OutputOption = None, all_: All = False, as_json: Json = False) -> None:
    """Show one run: settings, results, how it ended, what to do next."""
    entry = history.require(run, workspace.output(output))
    made = results.checkpoints(entry.folder, entry.name)
    saved = results.states(entry.folder, entry.name)
    if as_json:
        printing.data(_all_facts(entry, made, saved))
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
            {
                "section": one.section,
                "name": one.name,
                "left": listing.plain(one.left),
                "right": listing.plain(one.right),
            }
            for one in found
        ]
        printing.data({"left": str(left.folder), "right": str(right.folder), "differences": differences})
        return
    if not found:
        console.note("no recorded value differs")
        return
    headings = (left.name, right.name) if left.name != right.name else (str(left.folder), str(right.folder))
    rows = [(one.section, one.name, comparison.text(one.left), comparison.text(one.right)) for one in found]
    console.table(("", "", *headings), rows)


def _all_facts(entry: Loaded, made: Sequence[CheckpointFile], states: Sequence[Path]) -> dict[str, object]:
    checkpoints = [
        {"path": str(one.path), "moment": one.moment, "bytes": one.size_bytes, "whole": one.is_whole} for one in made
    ]
    return {
        **listing.facts(run_list.listed(entry)),
        "record": entry.record.model_dump(mode="json"),
        "outcome": entry.outcome.model_dump(mode="json", exclude={"seconds_per_step"}) if entry.outcome else None,
        "checkpoints": checkpoints,
        "states": [str(path) for path in states],
    }


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
