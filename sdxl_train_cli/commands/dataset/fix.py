"""`sdxl-train dataset fix`: copy a dataset so that training accepts all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sdxl_train_cli import layout
from sdxl_train_cli.commands.dataset.options import Directory
from sdxl_train_cli.commands.workspace import require_reasonable
from sdxl_train_cli.dataset import fix_request, fix_sources, fixing
from sdxl_train_cli.dataset.convert_picture import Alpha
from sdxl_train_cli.dataset.fixing import FixResult
from sdxl_train_cli.ui import console

To = Annotated[Path, typer.Option("--to", metavar="NEWDIR", help="Folder for the copy")]
Trigger = Annotated[str | None, typer.Option("--trigger", "-t", help="Put this word first in every caption")]
AlphaOption = Annotated[Alpha, typer.Option("--alpha", help="Flatten transparency onto white, or keep it for masks")]
KeepDuplicates = Annotated[bool, typer.Option("--keep-duplicates", help="Keep duplicate pictures")]
Size = Annotated[
    int,
    typer.Option(
        "--size",
        min=64,
        callback=require_reasonable,
        help="Side of the training square in pixels: shrink larger pictures",
    ),
]
Quality = Annotated[int, typer.Option("--quality", min=1, max=100, help="JPEG quality of rewritten files")]
Encoding = Annotated[
    str | None,
    typer.Option("--encoding", metavar="NAME", help="Encoding of captions that aren't Unicode, such as cp1251"),
]


def fix(
    directory: Directory, to: To, trigger: Trigger = None, alpha: AlphaOption = Alpha.WHITE,
    keep_duplicates: KeepDuplicates = False, size: Size = 1024, quality: Quality = 95, encoding: Encoding = None,
) -> None:  # fmt: skip
    """Make a repaired copy that is ready to train. The originals are never touched."""
    source, folder = layout.expand(directory), layout.expand(to)
    fix_request.require_apart(source, folder)
    order = fix_request.build(
        size=size, alpha=alpha, quality=quality, trigger=trigger, encoding=encoding, keep_duplicates=keep_duplicates
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


def _tell(fixed: FixResult) -> None:
    """Report what was done in numbers. The details are in the log."""
    made = [entry for entry in fixed.entries if entry.picture is not None]
    changed = [entry for entry in made if entry.did]
    left = len(fixed.entries) - len(made)
    words = f"{len(made)} pictures, {len(changed)} of them changed, {left} left out"
    console.note(f"done: {words}{f'; {fixed.already_done} were already done' if fixed.already_done else ''}")
    console.note(f"full list of changes: {fixed.log}")
    console.out(str(fixed.folder))
