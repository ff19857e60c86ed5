"""The computer's own memory: whether the base model can be loaded into it at all."""

from __future__ import annotations

from pathlib import Path

from sdxl_train_cli import files, layout
from sdxl_train_cli.environment import machine
from sdxl_train_cli.errors import Problem, WayOut
from sdxl_train_cli.gpu import GIB
from sdxl_train_cli.recipe import Recipe


def problems(model: str, recipe: Recipe) -> list[Problem]:
    """That loading the model may end the run: sd-scripts loads all of it before it moves anything to the GPU."""
    path = layout.expand(Path(model))
    if recipe.is_on("lowram") or not files.is_file(path):
        return []
    size, free = path.stat().st_size, machine.free_bytes()
    if size <= free:
        return []
    words = (
        f"the model takes {size / GIB:.1f} GB of the computer's memory while it is loaded, and {free / GIB:.1f} GB are"
        " free with swap: the system may end the run without a word"
    )
    hint = "or close programs, and enlarge the swap or paging file"
    return [Problem(words, hint, ways=(WayOut(("lowram=true",), "loads into the GPU's memory"),))]
