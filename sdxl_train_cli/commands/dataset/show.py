"""`sdxl-train dataset show`: what SDXL sees of a folder of pictures, on the terminal or as a web page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from sdxl_train_cli import files, layout
from sdxl_train_cli.commands.dataset import training
from sdxl_train_cli.commands.dataset.options import DirectoryOfProject, Json
from sdxl_train_cli.commands.train_options import (
    BatchSize,
    Epochs,
    Preset,
    Reg,
    Repeats,
    Resolution,
    Set,
    Steps,
    Trigger,
    from_flags,
    typed,
)
from sdxl_train_cli.commands.workspace import HomeOption, KindFilter
from sdxl_train_cli.dataset import bucketing, checking
from sdxl_train_cli.dataset.bucketing import BucketPlan
from sdxl_train_cli.dataset.checking import CheckedDataset
from sdxl_train_cli.dataset.finding_kinds import summarize
from sdxl_train_cli.errors import DatasetError, UsageError
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.ui import console, dataset_facts, dataset_page, dataset_page_data, dataset_tables, web_page

Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write a web page with every picture; works offline")
]

Piece = TypeVar("Piece")


def show(
    directory: DirectoryOfProject = None, preset: Preset = None, kind: KindFilter = None, trigger: Trigger = None,
    reg: Reg = None, repeats: Repeats = None, batch_size: BatchSize = None, steps: Steps = None, epochs: Epochs = None,
    resolution: Resolution = None, set_: Set = None, as_json: Json = False, html: Html = None,
    home: HomeOption = None,
) -> None:  # fmt: skip
    """Show what SDXL will really see: buckets, crops, steps, tags."""
    target = None if html is None else _target(html)
    overrides = typed(
        from_flags({
            "train_batch_size": batch_size, "max_train_steps": steps, "max_train_epochs": epochs,
            "resolution": resolution,
        }),
        set_,
    )  # fmt: skip
    source = training.source(directory, reg, trigger, repeats)
    recipe = training.load(kind, preset, source.data, overrides, home)
    with console.picture_progress() as on_progress:
        checked = checking.check(source, recipe, on_progress)
    _require_pictures(checked)
    arranged = bucketing.arrange(recipe, checked.survey.readable)
    if target is not None:
        _write_page(target, checked, arranged, recipe)
    if as_json:
        dataset_facts.show(checked, arranged, recipe, target)
    elif target is not None:
        dataset_tables.show_page(target)
    else:
        dataset_tables.show(checked, arranged, recipe)


def _require_pictures(checked: CheckedDataset) -> None:
    """Problems of single pictures are shown. Without any picture there is nothing to show."""
    if not checked.survey.seen:
        raise DatasetError([summarize(finding) for finding in checked.errors])


def _target(html: Path) -> Path:
    """Path of the page. UsageError if it is not writable, before a long survey."""
    target = layout.expand(html)
    if files.is_folder(target):
        return target / "dataset.html"
    if not files.is_folder(target.parent):
        what = "is a file" if files.exists(target.parent) else "does not exist"
        raise UsageError(f"{target.parent} {what}: no page can be written there", "choose another file with --html")
    return target


def _write_page(target: Path, checked: CheckedDataset, arranged: BucketPlan, recipe: Recipe) -> None:
    shown = dataset_page_data.gather(checked, arranged, recipe)
    files = dataset_page_data.files(checked.survey)
    sources = list(_counted(dataset_page.sources(files), len(files)))
    web_page.write(dataset_page.html(shown, sources), target, "--html")


def _counted(pieces: Iterable[Piece], whole: int) -> Iterator[Piece]:
    """The same items, with a progress bar on a terminal."""
    with console.picture_progress("making thumbnails") as on_progress:
        for done, piece in enumerate(pieces, start=1):
            if on_progress is not None:
                on_progress(done, whole)
            yield piece
