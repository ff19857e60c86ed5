"""The computer's own memory: whether the base model can be loaded into it at all."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

from sdxl_train_cli import files, layout
from sdxl_train_cli.errors import Problem, WayOut
from sdxl_train_cli.gpu import GIB
from sdxl_train_cli.recipe import Recipe

_LIMIT, _CURRENT = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
"""What a container may take, and what it takes (Linux, cgroup v2)."""


def free_bytes() -> int:
    """Memory and swap that are free to this process; in a container, at most what is left to it."""
    free = psutil.virtual_memory().available + psutil.swap_memory().free
    with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit
        free = min(free, int(_LIMIT.read_text()) - int(_CURRENT.read_text()))
    return max(0, free)


def problems(model: str, recipe: Recipe) -> list[Problem]:
    """That loading the model may end the run: sd-scripts loads all of it before it moves anything to the GPU."""
    path = layout.expand(Path(model))
    if recipe.is_on("lowram") or not files.is_file(path):
        return []
    size, free = path.stat().st_size, free_bytes()
    if size <= free:
        return []
    words = (
        f"the model takes {size / GIB:.1f} GB of the computer's memory while it is loaded, and {free / GIB:.1f} GB are"
        " free with swap: the system may end the run without a word"
    )
    hint = "or close programs, and enlarge the swap or paging file"
    return [Problem(words, hint, ways=(WayOut(("lowram=true",), "loads into the GPU's memory"),))]
