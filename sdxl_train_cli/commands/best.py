"""`sdxl-train best`: which checkpoint of a training to keep."""

from __future__ import annotations

from typing import Annotated

import typer

from sdxl_train_cli import files, layout
from sdxl_train_cli.commands import completion, workspace
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
    To,
)  # fmt: skip
from sdxl_train_cli.commands.workspace import HomeOption, OutputOption
from sdxl_train_cli.environment import environment
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.layout import Home
from sdxl_train_cli.ranking import facts, picture_words, ranking, words
from sdxl_train_cli.ranking.grid import GridFolder
from sdxl_train_cli.ranking.picture_scores import DrawnPictures, PictureFindings, ScoreModels
from sdxl_train_cli.ranking.verdict import Verdict
from sdxl_train_cli.records import history, record
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.run import drawing_choices, drawing_watch, pictured
from sdxl_train_cli.run.drawing_choices import PictureWishes
from sdxl_train_cli.run.pictured import GridWishes
from sdxl_train_cli.ui import console, grid_page, grid_page_data, printing

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
    run: RunOrFolder, no_weights: NoWeights = False, draw: Draw = False, prompt: Prompts = None,
    strength: Strengths = None, checkpoints: Checkpoints = None, size: Size = None, steps: Steps = None,
    seeds: Seeds = drawing_choices.SEEDS, gpu: DrawingGpu = None, no_vram_check: AnyMemory = False, clip: Clip = None,
    dino: Dino = None, no_pictures: NoPictures = False, to: To = None, output: OutputOption = None,
    as_json: Json = False, home: HomeOption = None,
) -> None:  # fmt: skip
    """Rank a training's checkpoints, and say why and how sure that is."""
    where, runs = workspace.home(home), workspace.output(output)
    known = ranking.find(run, runs)
    installed = environment.find(where)
    if not no_weights:
        known = ranking.with_weights(known, installed)
    found = ranking.judge(known)
    entry = history.load(known.folder) if known.is_a_run else None
    if draw:
        wishes = GridWishes(
            PictureWishes(tuple(prompt or ()), size, steps, seeds), strength or drawing_choices.STRENGTHS,
            checkpoints or (), gpu, not no_vram_check,
        )  # fmt: skip
        _draw(entry, where, found, wishes)
    drawn = None if no_pictures or entry is None else pictured.there(entry, found)
    pictures = None if drawn is None or entry is None else _look(installed, entry, drawn, _models(clip, dino))
    if drawn is None or pictures is None:
        show(found, as_json=as_json)
        return
    found = ranking.judge(known, pictures)
    show(found, as_json=as_json, pictures=pictures)
    page = layout.expand(to) if to else known.folder / record.BEST_PAGE
    page = page / record.BEST_PAGE if files.is_folder(page) else page
    reasons = [*picture_words.reasons(found, found.pictured, pictures), *words.reasons(found)]
    grid_page.write(grid_page_data.gather(found, drawn, pictures, reasons, page), page)
    console.note(f"the pictures, with a slider over checkpoints: {page}")


def _models(clip: str | None, dino: str | None) -> ScoreModels:
    usual = ScoreModels()
    typed = frozenset(name for name in (clip, dino) if name)
    return ScoreModels(clip or usual.clip, dino or usual.dino, typed)


def _draw(entry: Loaded | None, where: Home, found: Verdict, wishes: GridWishes) -> None:
    """Draw what is missing, telling how much that is before it begins."""
    if entry is None:
        raise UsageError(
            "only a run of sdxl-train can be drawn: its record says which base model it was trained on",
            "leave out --draw: the files are ranked without pictures",
        )
    recovered = drawing_watch.recover(GridFolder(entry.folder))
    if recovered:
        console.note(f"pictures of an interrupted drawing are kept: {recovered}")
    ready = pictured.prepare(entry, where, found, wishes)
    if ready.memory:
        console.note(ready.memory)
    console.note(f"drawing {ready.words}" if ready.missing else f"all {ready.total} pictures are there already")
    with console.progress_bar("drawing") as tell:
        drawing_watch.draw(ready, tell)


def _look(
    installed: Environment | None, entry: Loaded, drawn: DrawnPictures, models: ScoreModels
) -> PictureFindings | None:
    if installed is None or not installed.trains or not drawn.pictures:
        return None
    kind = "sample pictures of the run" if drawn.are_samples else "drawn pictures"
    console.note(f"looking at {len(drawn.pictures)} {kind} (--no-pictures leaves them out)")
    return pictured.look(installed, entry, drawn, models)


def show(found: Verdict, *, as_json: bool, pictures: PictureFindings | None = None) -> None:
    """Print a verdict."""
    if as_json:
        more = {} if pictures is None else {"pictures": picture_words.facts(found.pictured, pictures)}
        printing.data({**facts.of(found), **more})
        return
    choice = found.pictured
    console.out(f"best: {words.headline(found) if choice is None else picture_words.headline(choice)}")
    seen = [] if pictures is None else [*picture_words.reasons(found, choice, pictures)]
    for reason in [*seen, *words.reasons(found)]:
        console.out(f"  {reason}")
    console.out("")
    console.table(*words.table(found))
    if pictures is not None:
        console.out("")
        console.table(*picture_words.table(found, pictures))
        for doubt in picture_words.doubts(pictures):
            console.note(doubt)
        console.note(picture_words.WEIGHTS)
    console.note("what would change this, or make it surer:")
    for line in words.improvements(found):
        console.note(f"  {line}")
