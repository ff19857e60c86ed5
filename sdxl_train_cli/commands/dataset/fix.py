"""`sdxl-train dataset fix`: copy a dataset so that training accepts all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import formatting, layout
from sdxl_train_cli.commands import values
from sdxl_train_cli.commands.dataset import training
from sdxl_train_cli.commands.dataset.options import Directory
from sdxl_train_cli.commands.train_options import Model, Reg, Resolution, Set, Vae, from_flags, typed
from sdxl_train_cli.commands.workspace import HomeOption
from sdxl_train_cli.dataset import checking, fix_request, fix_sources, fixing
from sdxl_train_cli.dataset import stale_caches as stale
from sdxl_train_cli.dataset.checking import DatasetSource
from sdxl_train_cli.dataset.convert_picture import Alpha
from sdxl_train_cli.dataset.fixing import FixResult
from sdxl_train_cli.errors import DatasetError, UsageError
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.sdscripts import cache_makers
from sdxl_train_cli.sdscripts.cache_makers import CacheMakers
from sdxl_train_cli.ui import console

To = Annotated[Path | None, typer.Option("--to", metavar="NEWDIR", help="Folder for the copy")]
Trigger = Annotated[
    str | None, typer.Option("--trigger", "-t", metavar="WORDS", help="Put this word first in every caption")
]
AlphaOption = Annotated[
    Alpha,
    values.one_of("--alpha", Alpha, about="Transparency: flattened onto white, or kept for masks [default: white]"),
]
KeepDuplicates = Annotated[bool, typer.Option("--keep-duplicates", help="Keep duplicate pictures")]
Size = Annotated[
    int | None,
    values.whole(
        "--size",
        metavar="PIXELS",
        least=64,
        about="Side of the training square in pixels: shrink larger pictures [default: a config's largest, else 1024]",
    ),
]
Quality = Annotated[int, values.whole("--quality", metavar="PERCENT", most=100, about="JPEG quality of new files")]
Encoding = Annotated[
    str | None,
    typer.Option("--encoding", metavar="NAME", help="Encoding of captions that aren't Unicode, such as cp1251"),
]


StaleCaches = Annotated[
    bool,
    typer.Option("--stale-caches", help="Only delete caches of sd-scripts that don't fit the settings given here"),
]


def fix(
    directory: Directory, to: To = None, trigger: Trigger = None, alpha: AlphaOption = Alpha.WHITE,
    keep_duplicates: KeepDuplicates = False, size: Size = None, quality: Quality = 95, encoding: Encoding = None,
    stale_caches: StaleCaches = False, resolution: Resolution = None, set_: Set = None, reg: Reg = None,
    model: Model = None, vae: Vae = None,
    home: HomeOption = None,
) -> None:  # fmt: skip
    """Make a repaired copy that is ready to train, or delete caches that don't fit. Pictures are never touched."""
    if stale_caches:
        if to is not None:
            raise UsageError("--stale-caches deletes caches where they are, and makes no copy", "omit --to")
        overrides = typed(from_flags({"resolution": resolution}), set_)
        makers = cache_makers.look(model, vae) if model else None
        _delete_stale(DatasetSource(directory, Path(reg) if reg else None), overrides, makers, home)
        return
    if to is None:
        raise UsageError("no folder for the copy is given", "--to NEWDIR, or --stale-caches to delete caches alone")
    source, folder = layout.expand(directory), layout.expand(to)
    fix_request.require_apart(source, folder)
    order = fix_request.build(
        size=size or fix_request.trained_side(source),
        alpha=alpha,
        quality=quality,
        trigger=trigger,
        encoding=encoding,
        keep_duplicates=keep_duplicates,
    )
    listed = fix_sources.list_pictures(source)
    for place in listed.places:
        fix_request.require_apart(place, folder)
    for note in listed.notes:
        console.warn(note)
    with console.progress_bar("fixing") as tell:
        fixed = fixing.fix(listed.items, source, folder, order, tell)
    _tell(fixed)
    fix_request.require_complete(fixed)


def _delete_stale(
    source: DatasetSource, overrides: list[Override], makers: CacheMakers | None, home: str | None
) -> None:
    """Delete the caches that a run with these settings would train on wrongly."""
    recipe = training.load(None, None, source.data, overrides, home)
    with console.picture_progress() as on_progress:
        checked = checking.check(source, recipe, on_progress, makers)
    removed = stale.remove(checked.findings, checked.survey.seen)
    console.note(
        f"deleted {formatting.counted(len(removed.files), 'cache')} ({removed.bytes / 1e6:.1f} MB): "
        "the next run makes them again"
        if removed.files
        else "no cache had to be deleted"
    )
    for path in removed.files:
        console.out(str(path))
    for problem in removed.left:
        console.warn(problem)
    if removed.failed:
        raise DatasetError(removed.failed)


def _tell(fixed: FixResult) -> None:
    """Report what was done in numbers. The details are in the log."""
    made = [entry for entry in fixed.entries if entry.picture is not None]
    changed = [entry for entry in made if entry.did]
    left = len(fixed.entries) - len(made)
    words = f"{len(made)} pictures, {len(changed)} of them changed, {left} left out"
    console.note(f"done: {words}{f'; {fixed.already_done} were already done' if fixed.already_done else ''}")
    console.note(f"full list of changes: {fixed.log}")
    console.out(str(fixed.folder))
