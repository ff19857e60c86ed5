"""From a run to what its pictures say: draw what is missing, look at what is there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.layout import Home
from sdxl_train_cli.ranking import drawn_pictures, picture_scores
from sdxl_train_cli.ranking.evidence import Candidate
from sdxl_train_cli.ranking.grid import GridFolder
from sdxl_train_cli.ranking.picture_scores import DrawnPictures, PictureFindings, ScoreModels
from sdxl_train_cli.ranking.verdict import Verdict
from sdxl_train_cli.records import recorded_prompts
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.run import drawing, drawing_choices
from sdxl_train_cli.run.drawing import DrawingRequest, PreparedDrawing
from sdxl_train_cli.run.drawing_choices import PictureWishes
from sdxl_train_cli.sdscripts import results, sample_prompts
from sdxl_train_cli.sdscripts.results import CheckpointFile


@dataclass(frozen=True)
class GridWishes:
    """The grid that was asked for. Nothing leaves it to us."""

    pictures: PictureWishes = field(default_factory=PictureWishes)
    strengths: tuple[float, ...] = drawing_choices.STRENGTHS
    checkpoints: tuple[str, ...] = ()
    gpu_index: int | None = None
    check_vram: bool = True


def prepare(entry: Loaded, home: Home, found: Verdict, wishes: GridWishes) -> PreparedDrawing:
    """Choose what the grid shows, and check that it can be drawn. Writes nothing."""
    prompts = drawing_choices.prompts(entry, wishes.pictures)
    chosen = drawing_choices.checkpoints(found, wishes.checkpoints)
    files = _files(entry, chosen)
    return drawing.prepare(
        entry, home, DrawingRequest(files, wishes.strengths, prompts, wishes.gpu_index, wishes.check_vram)
    )


def _files(entry: Loaded, chosen: list[Candidate]) -> list[CheckpointFile]:
    by_path = {one.path: one for one in results.checkpoints(entry.folder, entry.name)}
    return [by_path[one.path] for one in chosen if one.path in by_path]


def there(entry: Loaded, found: Verdict) -> DrawnPictures:
    """The pictures of the run's grid, or its own samples where no grid was drawn. Possibly none."""
    folder = GridFolder(entry.folder)
    grid = folder.load()
    if grid is not None:
        drawn = drawn_pictures.of_grid(folder, grid)
        ranked = {None, *(one.path for one in found.evidence.candidates)}
        drawn = replace(drawn, pictures=tuple(one for one in drawn.pictures if one.checkpoint in ranked))
        if any(one.checkpoint is not None for one in drawn.pictures):
            return drawn
    prompts = [sample_prompts.words(line) for line in recorded_prompts.lines(entry)]
    first = [found.best.candidate, *found.evidence.candidates]  # of two files with one step, the better one is meant
    return drawn_pictures.of_samples(entry, first, prompts)


def look(installed: Environment, entry: Loaded, drawn: DrawnPictures, models: ScoreModels) -> PictureFindings:
    """What the pictures are found to be."""
    return picture_scores.score(installed, drawn, drawn_pictures.training_pictures(entry), models)
