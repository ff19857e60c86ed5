"""`sdxl-train best`: which checkpoint of a training to keep."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import files, layout
from sdxl_train_cli.commands import best_pictures, completion, workspace
from sdxl_train_cli.commands.best_options import (
    AnyMemory,
    Checkpoints,
    Clip,
    Dino,
    Draw,
    DrawingGpu,
    NoPictures,
    Prompts,
    Seeds,
    Size,
    Steps,
    Strengths,
)
from sdxl_train_cli.commands.best_pictures import SeenPictures
from sdxl_train_cli.commands.workspace import HomeOption, OutputOption
from sdxl_train_cli.environment import environment
from sdxl_train_cli.ranking import facts, picture_words, ranking, words
from sdxl_train_cli.ranking.verdict import Verdict
from sdxl_train_cli.records import history, record
from sdxl_train_cli.run import drawing_choices
from sdxl_train_cli.run.drawing_choices import PictureWishes
from sdxl_train_cli.run.pictured import GridWishes
from sdxl_train_cli.ui import best_page, console, drawn_grid, printing

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
    run: RunOrFolder, to: To = None, open_: Open = False, no_weights: NoWeights = False, draw: Draw = False,
    prompt: Prompts = None, strength: Strengths = None, checkpoints: Checkpoints = None, size: Size = None,
    steps: Steps = None, seeds: Seeds = drawing_choices.SEEDS, gpu: DrawingGpu = None,
    no_vram_check: AnyMemory = False, clip: Clip = None, dino: Dino = None, no_pictures: NoPictures = False,
    output: OutputOption = None, as_json: Json = False, home: HomeOption = None,
) -> None:  # fmt: skip
    """Tell which checkpoint of a training to keep, and why."""
    where = workspace.home(home)
    known = ranking.find(run, workspace.output(output))
    installed = environment.find(where)
    if not no_weights:
        known = ranking.with_weights(known, installed)
    found = ranking.judge(known)
    entry = history.load(known.folder) if known.is_a_run else None
    if draw:
        look = PictureWishes(tuple(prompt or ()), size, steps, seeds)
        strengths = strength or drawing_choices.STRENGTHS
        best_pictures.draw(entry, where, found, GridWishes(look, strengths, checkpoints or (), gpu, not no_vram_check))
    seen = None if no_pictures else best_pictures.look(installed, entry, found, best_pictures.models(clip, dino))
    found = found if seen is None else ranking.judge(known, seen.findings)
    show(found, seen, as_json=as_json)
    if known.is_a_run or to is not None or open_:
        write_page(found, seen, layout.expand(to) if to else known.folder / record.BEST, open_=open_)


def write_page(found: Verdict, seen: SeenPictures | None, target: Path, *, open_: bool) -> None:
    """Write the verdict's page, and say where it is."""
    target = target / f"{found.evidence.name}.html" if files.is_folder(target) else target
    pictures = None if seen is None else drawn_grid.content(found, seen.drawn, seen.findings, target)
    best_page.write(found, target, pictures)
    console.note(f"page: {target}")
    if open_ and not webbrowser.open(target.absolute().as_uri()):
        console.note("no browser could be opened: open the file yourself")


def show(found: Verdict, seen: SeenPictures | None = None, *, as_json: bool) -> None:
    """Print a verdict."""
    if as_json:
        printing.data({**facts.of(found), "pictures": None if seen is None else picture_words.facts(seen.findings)})
        return
    console.out(f"best: {words.headline(found)}")
    for reason in words.reasons(found):
        console.out(f"  {reason}")
    console.out("")
    console.table(*words.table(found))
    if seen is not None:
        best_pictures.show(found, seen.findings)
    console.note("what would change this, or make it surer:")
    for line in words.improvements(found):
        console.note(f"  {line}")
