"""Choose what the grid of a run shows, and prepare to draw what is missing of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from sdxl_train_cli.layout import Home
from sdxl_train_cli.ranking.evidence import Candidate
from sdxl_train_cli.ranking.verdict import Verdict
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.run import drawing, drawing_choices
from sdxl_train_cli.run.drawing import DrawingRequest, PreparedDrawing
from sdxl_train_cli.run.drawing_choices import PictureWishes
from sdxl_train_cli.sdscripts import results
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
