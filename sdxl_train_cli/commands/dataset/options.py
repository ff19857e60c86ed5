"""What the commands that look at a dataset take alike, so that each is typed and told of in one way."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_LAID_OUT = "Folder of pictures; or a dataset config, or metadata"

# What may not be read is told by those who read it, as all else of the dataset.
Directory = Annotated[Path, typer.Argument(metavar="DIR", readable=False, help=_LAID_OUT)]
DirectoryOfProject = Annotated[
    Path | None, typer.Argument(metavar="DIR", readable=False, help=f"{_LAID_OUT} [default: the project's, else data]")
]
KindOption = Annotated[str | None, typer.Option("--kind", "-k", help="What to train [default: lora]")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
