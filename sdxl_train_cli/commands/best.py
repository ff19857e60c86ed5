"""`sdxl-train best`: which checkpoint of a training to keep."""

from __future__ import annotations

from typing import Annotated

import typer

from sdxl_train_cli.commands import completion, workspace
from sdxl_train_cli.commands.workspace import HomeOption, OutputOption
from sdxl_train_cli.environment import environment
from sdxl_train_cli.ranking import facts, ranking, words
from sdxl_train_cli.ranking.verdict import Verdict
from sdxl_train_cli.ui import console, printing

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
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]


def best(
    run: RunOrFolder, no_weights: NoWeights = False, output: OutputOption = None, as_json: Json = False,
    home: HomeOption = None,
) -> None:  # fmt: skip
    """Rank a training's checkpoints, and say why and how sure that is."""
    known = ranking.find(run, workspace.output(output))
    if not no_weights:
        known = ranking.with_weights(known, environment.find(workspace.home(home)))
    show(ranking.judge(known), as_json=as_json)


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
