"""Options shared by the dataset commands, so that each has one name and one help text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_LAID_OUT = "Folder of pictures; or a dataset config, or metadata"

# Existence and permissions are checked where the dataset is read.
Directory = Annotated[Path, typer.Argument(metavar="DIR", readable=False, help=_LAID_OUT)]
DirectoryOfProject = Annotated[
    Path | None, typer.Argument(metavar="DIR", readable=False, help=f"{_LAID_OUT} [default: the project's, else data]")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
