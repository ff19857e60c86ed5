"""The part of `sdxl-train best` that draws pictures with the checkpoints and looks at them."""

from __future__ import annotations

from dataclasses import dataclass

from sdxl_train_cli import formatting
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.layout import Home
from sdxl_train_cli.ranking import drawn_pictures, picture_words
from sdxl_train_cli.ranking.grid import GridFolder
from sdxl_train_cli.ranking.picture_scores import DrawnPictures, PictureFindings, ScoreModels
from sdxl_train_cli.ranking.verdict import Verdict
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.run import drawing_watch, pictured
from sdxl_train_cli.run.pictured import GridWishes
from sdxl_train_cli.ui import console


@dataclass(frozen=True)
class SeenPictures:
    """Pictures, and what was found in them."""

    drawn: DrawnPictures
    findings: PictureFindings


def models(clip: str | None, dino: str | None) -> ScoreModels:
    """Those that were named, and the usual ones for the rest."""
    usual = ScoreModels()
    typed = frozenset(name for name in (clip, dino) if name)
    return ScoreModels(clip or usual.clip, dino or usual.dino, typed)


def draw(entry: Loaded | None, where: Home, found: Verdict, wishes: GridWishes) -> None:
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


def look(
    installed: Environment | None, entry: Loaded | None, found: Verdict, chosen: ScoreModels
) -> SeenPictures | None:
    """What is found in the run's grid, or in its samples. None where there are none, or nothing can look."""
    drawn = drawn_pictures.to_look_at(installed, entry, found)
    if drawn is None or entry is None or installed is None:
        return None
    count = len(drawn.pictures)
    seen = f"{count} of the run's own samples" if drawn.are_samples else formatting.counted(count, "drawn picture")
    console.note(f"looking at {seen} (--no-pictures leaves them out)")
    return SeenPictures(drawn, drawn_pictures.look(installed, entry, drawn, chosen))


def show(found: Verdict, pictures: PictureFindings) -> None:
    """Print what was found in pictures."""
    console.out("")
    console.table(*picture_words.table(found, pictures))
    for doubt in picture_words.doubts(pictures):
        console.note(doubt)
    console.note(picture_words.WEIGHTS)
