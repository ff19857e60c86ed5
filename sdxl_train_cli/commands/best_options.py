"""The options of `sdxl-train best` that have to do with pictures."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from sdxl_train_cli import formatting
from sdxl_train_cli.commands import values
from sdxl_train_cli.errors import UsageError

_PANEL = "Pictures"
_GRAIN, _LARGEST = 64, 4096
_MOST_STRENGTH, _MOST_PLACES = 2.0, 12
_MOST_SEEDS, _MOST_STEPS = 16, 200


def _strengths() -> Any:  # noqa: ANN401 - typer's
    """`--strength`: 0.6,0.8,1."""

    def parse(text: object) -> tuple[float, ...]:
        parts = [part.strip() for part in str(text).split(",")]
        wrong = [part for part in parts if not re.fullmatch(r"\d{0,2}\.?\d{1,4}", part)]
        found = [] if wrong else sorted({float(part) for part in parts})
        if wrong or not all(0 < one <= _MOST_STRENGTH for one in found) or len(found) > _MOST_PLACES:
            raise UsageError(
                f"--strength takes numbers above 0 and up to {_MOST_STRENGTH:g}, not '{formatting.cut(str(text))}'",
                "such as --strength 0.6,0.8,1",
            )
        return tuple(found)

    return typer.Option(
        "--strength", parser=parse, metavar="LIST", rich_help_panel=_PANEL,
        help="Strengths to draw [default: 0.6,0.8,1]",
    )  # fmt: skip


def _size() -> Any:  # noqa: ANN401 - typer's
    """`--size`: 1024 or 832x1216."""

    def parse(text: object) -> tuple[int, int]:
        sides = re.fullmatch(r"(\d{2,4})(?:[x*,](\d{2,4}))?", str(text).strip().lower())
        if sides is None:
            words = f"--size takes pixels, not '{formatting.cut(str(text))}'"
            raise UsageError(words, "such as --size 1024 or --size 832x1216")
        width, height = int(sides[1]), int(sides[2] or sides[1])
        fitting = [max(_GRAIN, min(_LARGEST, round(side / _GRAIN) * _GRAIN)) for side in (width, height)]
        if fitting != [width, height]:
            raise UsageError(
                f"--size takes multiples of {_GRAIN} up to {_LARGEST}, not {width}x{height}",
                f"--size {fitting[0]}x{fitting[1]}",
            )
        return width, height

    return typer.Option(
        "--size", parser=parse, metavar="PIXELS", rich_help_panel=_PANEL,
        help="1024 or 832x1216 [default: what the prompts or the training say]",
    )  # fmt: skip


def _names() -> Any:  # noqa: ANN401 - typer's
    """`--checkpoints`: 400,800,final."""

    def parse(text: object) -> tuple[str, ...]:
        return tuple(dict.fromkeys(part.strip() for part in str(text).split(",") if part.strip()))

    return typer.Option(
        "--checkpoints", parser=parse, metavar="LIST", rich_help_panel=_PANEL,
        help="Which to draw: 400,800,final [default: the best and up to 4 others]",
    )  # fmt: skip


Draw = Annotated[
    bool,
    typer.Option(
        "--draw", rich_help_panel=_PANEL,
        help="Draw a grid: checkpoint, strength, prompt. Go on with one that was stopped",
    ),
]  # fmt: skip
Prompts = Annotated[
    list[str] | None,
    typer.Option(
        "--prompt", metavar="TEXT", rich_help_panel=_PANEL, show_default=False,
        help="Draw this; can be repeated [default: the run's own sample prompts]",
    ),
]  # fmt: skip
Strengths = Annotated[Any, _strengths()]
Checkpoints = Annotated[Any, _names()]
Size = Annotated[Any, _size()]
Steps = Annotated[
    int | None,
    values.whole(
        "--steps", most=_MOST_STEPS, panel=_PANEL, about="Steps for each picture [default: the prompt's own, or 24]"
    ),
]
Seeds = Annotated[int, values.whole("--seeds", most=_MOST_SEEDS, panel=_PANEL, about="Pictures for each prompt")]
DrawingGpu = Annotated[int | None, values.gpu_index("GPU to draw on [default: the one with most free memory]", _PANEL)]
AnyMemory = Annotated[
    bool, typer.Option("--no-vram-check", rich_help_panel=_PANEL, help="Draw even if GPU memory looks too small")
]
Clip = Annotated[
    str | None,
    typer.Option(
        "--clip", metavar="MODEL", rich_help_panel=_PANEL, show_default=False,
        help="CLIP for faithfulness to the prompt: a folder or a hub name",
    ),
]  # fmt: skip
Dino = Annotated[
    str | None,
    typer.Option(
        "--dino", metavar="MODEL", rich_help_panel=_PANEL, show_default=False,
        help="DINOv2 for likeness to the training pictures: a folder or a hub name",
    ),
]  # fmt: skip
NoPictures = Annotated[
    bool, typer.Option("--no-pictures", rich_help_panel=_PANEL, help="Don't look at pictures that are there: faster")
]
