"""Find the pictures that tell of a run's checkpoints, and look at them: those of its grid, or its own samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.dataset import picture_names
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import ModelError
from sdxl_train_cli.inspection import strengths
from sdxl_train_cli.ranking import grid as grids
from sdxl_train_cli.ranking import picture_scores
from sdxl_train_cli.ranking.evidence import Candidate
from sdxl_train_cli.ranking.grid import Grid, GridCheckpoint, GridFolder
from sdxl_train_cli.ranking.picture_scores import DrawnPicture, DrawnPictures, PictureFindings, ScoreModels
from sdxl_train_cli.ranking.verdict import Verdict
from sdxl_train_cli.records import recorded_prompts
from sdxl_train_cli.records.history import Loaded
from sdxl_train_cli.sdscripts import results, sample_prompts

_AT_FIRST = "start"


def to_look_at(installed: Environment | None, entry: Loaded | None, found: Verdict) -> DrawnPictures | None:
    """A run's pictures that tell of its checkpoints. None where there are none, or nothing can look."""
    if entry is None or installed is None or not installed.trains:
        return None
    drawn = there(entry, found)
    return drawn if any(one.checkpoint is not None for one in drawn.pictures) else None


def there(entry: Loaded, found: Verdict) -> DrawnPictures:
    """The pictures of the run's grid, or its own samples where no grid was drawn. Possibly none."""
    folder = GridFolder(entry.folder)
    grid = folder.load()
    if grid is not None:
        drawn = of_grid(folder, grid)
        ranked = {None, *(one.path for one in found.evidence.candidates)}
        drawn = replace(drawn, pictures=tuple(one for one in drawn.pictures if one.checkpoint in ranked))
        if any(one.checkpoint is not None for one in drawn.pictures):
            return drawn
    prompts = [sample_prompts.words(line) for line in recorded_prompts.lines(entry)]
    first = [found.best.candidate, *found.evidence.candidates]  # of two files with one step, the better one is meant
    return of_samples(entry, first, prompts)


def look(installed: Environment, entry: Loaded, drawn: DrawnPictures, models: ScoreModels) -> PictureFindings:
    """What the pictures are found to be."""
    return picture_scores.score(installed, drawn, training_pictures(entry), models)


def of_grid(folder: GridFolder, grid: Grid) -> DrawnPictures:
    """The pictures of a grid that are there, without those of files that are gone or were trained anew since."""
    drawn_at = (folder.path / grids.FILE).stat().st_mtime_ns
    standing = [_is_as_drawn(folder.run / one.file, one, drawn_at) for one in grid.checkpoints]
    found = [
        DrawnPicture(
            folder.picture(cell),
            None if cell.checkpoint is None else folder.run / grid.checkpoints[cell.checkpoint].file,
            cell.strength, cell.prompt, cell.seed,
        )
        for cell in grid.cells
        if (cell.checkpoint is None or standing[cell.checkpoint]) and files.is_file(folder.picture(cell))
    ]  # fmt: skip
    return DrawnPictures(tuple(found), tuple(prompt.words for prompt in grid.prompts))


def _is_as_drawn(path: Path, one: GridCheckpoint, drawn_at: int) -> bool:
    """Whether a file still has the weights that drew. Only one that was written since is read for that."""
    try:
        return path.stat().st_mtime_ns <= drawn_at or results.weights_sha256(path) == one.sha256
    except (OSError, ModelError):
        return False


def of_samples(entry: Loaded, candidates: Sequence[Candidate], prompts: Sequence[str]) -> DrawnPictures:
    """The run's own samples, each with the first of the checkpoints that has its step.

    The last file of a run has the step at which the run ended, as another file may have too.
    """
    by_moment: dict[str, Path | None] = {_AT_FIRST: None}
    for one in candidates:
        by_moment.setdefault(one.moment, one.path)
        if one.step is not None:
            by_moment.setdefault(f"step {one.step}", one.path)
    found = [
        DrawnPicture(sample.path, path, strengths.FULL if path else 0.0, sample.prompt, 0)
        for sample in results.samples(entry.folder, entry.name)
        if sample.moment in by_moment and sample.prompt < len(prompts)
        for path in (by_moment[sample.moment],)
    ]
    latest = {(one.checkpoint, one.prompt): one for one in found}  # a resumed run may have drawn one twice
    return DrawnPictures(tuple(latest.values()), tuple(prompts), are_samples=True)


def training_pictures(entry: Loaded) -> list[Path]:
    """The pictures that the run was trained on, without those of regularization. Empty where they are gone."""
    folders = entry.record.dataset.folders if entry.record.dataset else ()
    found: list[Path] = []
    for one in folders:
        folder = Path(one.path)
        if not one.is_reg and files.is_folder(folder):
            found += sorted(path for path in folder.iterdir() if picture_names.is_picture(path) and files.is_file(path))
    return list(dict.fromkeys(found))
