"""`sdxl-train dataset caption`: tag pictures that have no caption."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from sdxl_train_cli import layout
from sdxl_train_cli.commands import values, workspace
from sdxl_train_cli.commands.dataset.options import Directory
from sdxl_train_cli.commands.workspace import HomeOption
from sdxl_train_cli.dataset import caption_text, finding_kinds, untagged
from sdxl_train_cli.dataset.untagged import UntaggedPictures
from sdxl_train_cli.environment import environment, required_packages
from sdxl_train_cli.environment.toolchain import Extra
from sdxl_train_cli.errors import DatasetError, Problem
from sdxl_train_cli.run import tagging
from sdxl_train_cli.run.tagging import TaggingResult
from sdxl_train_cli.ui import console

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="WD14 tagger: Hugging Face id, or folder [default: SmilingWolf/wd-swinv2-tagger-v3]",
    ),
]
Threshold = Annotated[
    float, values.number("--threshold", metavar="SHARE", example="0.35", most=1, about="Minimum confidence for a tag")
]
Trigger = Annotated[
    str | None, typer.Option("--trigger", "-t", metavar="WORDS", help="Put this word first in every new caption")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Retag pictures that already have a caption")]


def caption(
    directory: Directory, model: Model = None, threshold: Threshold = 0.35, trigger: Trigger = None,
    overwrite: Overwrite = False, home: HomeOption = None,
) -> None:  # fmt: skip
    """Tag pictures that have no caption with sd-scripts' tagger."""
    where = workspace.home(home)
    installed = environment.require(where)
    required_packages.require_extras(installed, [Extra.TAGGER], "command")
    tagging.require_script(installed)
    options = tagging.TaggingOptions(threshold, caption_text.parse_trigger(trigger))
    work = untagged.find_untagged(layout.expand(directory), overwrite=overwrite)
    if work.jobs:
        tagger = tagging.find_tagger(model or tagging.USUAL_MODEL, where, os.environ)
        if tagger.must_be_fetched:
            console.note(f"fetching {tagger.name}, a few hundred MB, once")
        with console.progress_bar("tagging") as tell:
            _tell(tagging.tag(installed, where, tagger, work.jobs, options, tell), threshold)
    _tell_rest(work)


def _tell(tagged: TaggingResult, threshold: float) -> None:
    console.note(f"done: {len(tagged.written)} captions written")
    if tagged.kept:
        console.note(
            f"captions that another program wrote, meanwhile left as they are: {finding_kinds.name_some(tagged.kept)}"
        )
    if tagged.empty:
        names = finding_kinds.name_some(tagged.empty)
        console.warn(Problem(f"no tag reached {threshold}, so no caption: {names}", "try a lower --threshold"))


def _tell_rest(work: UntaggedPictures) -> None:
    """Report pictures that were skipped. DatasetError if some are unreadable."""
    if work.kept:
        console.note(f"{work.kept} pictures keep their captions (--overwrite retags them)")
    if work.problems:
        raise DatasetError(work.problems)
