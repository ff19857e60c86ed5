"""The other side of `scripts/bench.py check`: makes the pictures, merely decodes them, and times a check from inside.

    make FOLDER COUNT   JPEG files of 1024x1024 with a caption each
    tiny FOLDER COUNT N JPEG files of 64x64, no two alike, the Nth of all and those after it
    decode FOLDER       decode each with Pillow, over all cores; prints seconds
    check FOLDER        look at them as `sdxl-train dataset check` does; prints seconds, the program's start left out

Run by the Python of the project's venv.
"""

from __future__ import annotations

import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from sdxl_train_cli.dataset import checking
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import presets

SIDE, QUALITY = 1024, 92
WORDS = ("red dress", "standing", "outdoors", "smile", "looking at viewer", "blue sky", "tree", "soft light")


def make(folder: Path, count: int) -> None:
    """About 400 kB each, as photos of this size have; no two are alike."""
    folder.mkdir(parents=True)
    for number in range(count):
        drawn = random.Random(number)  # noqa: S311 - the same pictures each time
        blots = Image.frombytes("RGB", (48, 48), drawn.randbytes(48 * 48 * 3)).resize((SIDE, SIDE))
        grain = Image.merge("RGB", (Image.effect_noise((SIDE, SIDE), 24),) * 3)
        Image.blend(blots, grain, 0.25).save(folder / f"{number:04}.jpg", quality=QUALITY)
        caption = ", ".join(["ohwx woman", f"photo {number}", *drawn.choices(WORDS, k=20)])
        (folder / f"{number:04}.txt").write_text(caption, encoding="utf-8")


def tiny(folder: Path, count: int, first: int) -> None:
    """About 4 kB each, ten thousand in a second or two."""
    folder.mkdir(parents=True)
    for number in range(first, first + count):
        drawn = random.Random(number)  # noqa: S311 - the same pictures each time
        blots = Image.frombytes("RGB", (16, 16), drawn.randbytes(16 * 16 * 3))
        blots.resize((64, 64), Image.Resampling.NEAREST).save(folder / f"{number:06}.jpg", quality=85)


def decode(folder: Path) -> float:
    """Seconds."""
    files = sorted(folder.glob("*.jpg"))
    start = time.monotonic()
    with ThreadPoolExecutor(_cores()) as pool:
        list(pool.map(_decode, files))
    return time.monotonic() - start


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _decode(file: Path) -> None:
    with Image.open(file) as image:
        image.load()


def check(folder: Path) -> float:
    """Seconds."""
    recipe = presets.load(Kind.LORA, "dim32-gc")
    start = time.monotonic()
    checking.check(checking.DatasetSource(folder, trigger="ohwx"), recipe)
    return time.monotonic() - start


if __name__ == "__main__":
    what, where, *more = sys.argv[1:]
    if what == "make":
        make(Path(where), int(more[0]))
    elif what == "tiny":
        tiny(Path(where), int(more[0]), int(more[1]))
    else:
        print({"decode": decode, "check": check}[what](Path(where)))
