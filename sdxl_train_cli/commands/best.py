"""`sdxl-train best`: which checkpoint of a training to keep."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import files, layout
from sdxl_train_cli.commands import completion, workspace
from sdxl_train_cli.commands.workspace import HomeOption, OutputOption
from sdxl_train_cli.environment import environment
from sdxl_train_cli.ranking import facts, ranking, words
from sdxl_train_cli.ranking.verdict import Verdict
from sdxl_train_cli.records import record
from sdxl_train_cli.ui import best_page, console, printing

RunOrFolder = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A name from `sdxl-train runs list`, a run's folder, or any folder with one training's checkpoints",
        show_default=False,
        autocompletion=completion.run_names,
    ),
]
NoWeights = Annotated[bool, typer.Option("--no-weights", help="Don't look at the files' weights: at once, says less")]
To = Annotated[
    Path | None,
    typer.Option("--to", metavar="FILE", help="The page to write [default: best.html in the run's folder]"),
]
Open = Annotated[bool, typer.Option("--open", help="Open the page in the browser")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]


def best(
    run: RunOrFolder, to: To = None, open_: Open = False, no_weights: NoWeights = False,
    output: OutputOption = None, as_json: Json = False, home: HomeOption = None,
) -> None:  # fmt: skip
    """Rank a training's checkpoints, and say why and how sure that is."""
    known = ranking.find(run, workspace.output(output))
    if not no_weights:
        known = ranking.with_weights(known, environment.find(workspace.home(home)))
    found = ranking.judge(known)
    show(found, as_json=as_json)
    if known.is_a_run or to is not None or open_:
        write_page(found, layout.expand(to) if to else known.folder / record.BEST, open_=open_)


def write_page(found: Verdict, target: Path, *, open_: bool) -> None:
    """Write the verdict's page, and say where it is."""
    target = target / f"{found.evidence.name}.html" if files.is_folder(target) else target
    best_page.write(found, target)
    console.note(f"page: {target}")
    if open_ and not webbrowser.open(target.absolute().as_uri()):
        console.note("no browser could be opened: open the file yourself")


def show(found: Verdict, *, as_json: bool) -> None:
    """Print a verdict."""
    if as_json:
        printing.data(facts.of(found))
        return
    console.out(f"best: {words.headline(found)}")
    for reason in words.reasons(found):
        console.out(f"  {reason}")
    console.out("")
    console.table(*words.table(found))
    console.note("what would change this, or make it surer:")
    for line in words.improvements(found):
        console.note(f"  {line}")
