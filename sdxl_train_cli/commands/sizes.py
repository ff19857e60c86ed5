"""The flag `--resolution`: one size for the run, or several, each in a dataset of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from sdxl_train_cli.commands.workspace import LARGEST

_LEAST, _MOST_SIZES = 64, 8


def parse(text: str) -> tuple[int, ...]:
    """The sides, each once. typer's BadParameter if the text is none."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() and len(part) <= len(str(LARGEST)) for part in parts):
        raise typer.BadParameter(f"'{text}' is not a side in pixels, nor several with commas between, such as 768,1024")
    sides = tuple(dict.fromkeys(map(int, parts)))
    if min(sides) < _LEAST:
        raise typer.BadParameter(f"{min(sides)} is not in the range x>={_LEAST}")
    if max(sides) > LARGEST:
        raise typer.BadParameter(f"the largest number allowed is {LARGEST}")
    if len(sides) > _MOST_SIZES:
        raise typer.BadParameter(f"{len(sides)} sizes are more than the {_MOST_SIZES} that are of use")
    return sides


def _require_sizes(text: str | None) -> str | None:
    if text is not None:
        parse(text)
    return text


Resolution = Annotated[
    str | None,
    typer.Option(
        "--resolution",
        metavar="PIXELS",
        callback=_require_sizes,
        help="Resolution: side in pixels of the square with a bucket's area; 768,1024 trains each picture at both",
    ),
]
