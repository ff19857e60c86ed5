"""Validate what a fix is asked for before anything is done, and decide which results are errors."""

from __future__ import annotations

import codecs
import math
import os
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.dataset import caption_text, convert_picture, fixing, largest_bucket, sources
from sdxl_train_cli.dataset.convert_picture import Alpha
from sdxl_train_cli.dataset.fix_plan import FixRequest
from sdxl_train_cli.dataset.fixing import FixResult
from sdxl_train_cli.dataset.folders import PictureFile
from sdxl_train_cli.errors import DatasetError, Problem, UsageError
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.sdscripts import buckets

MARGIN = 1.25
"""How much longer the sides of a shrunk picture are than its bucket needs, for later training at a larger size."""
TOO_LARGE = 1.5
"""How much longer they must be before a picture is shrunk. Less is not worth another compression."""
_SHOWN = 10
_PRESET, _LEAST_SIDE = "dim32-gc", 64


def build(  # noqa: PLR0913 - keyword-only, one per flag
    *, size: int, alpha: Alpha, quality: int, trigger: str | None, encoding: str | None, keep_duplicates: bool
) -> FixRequest:
    """Build the request. UsageError for an unknown encoding, or a trigger that no caption can hold."""
    if encoding is not None:
        try:
            encoding = codecs.lookup(encoding).name
        except LookupError as error:
            raise UsageError(f"unknown encoding '{encoding}'", "such as cp1251, cp1252, cp932 or gb18030") from error
    recipe = presets.load(Kind.LORA, _PRESET, presets.with_sizes(size))
    options = convert_picture.RepairOptions(alpha, quality, lambda width, height: shrunk_size(recipe, width, height))
    spelling = f"{alpha.value} {quality} {size}"
    return FixRequest(options, spelling, caption_text.parse_trigger(trigger), encoding, keep_duplicates)


def trained_side(data: Path) -> int:
    """Side of the square that the largest dataset of a config trains at; without a config, the default preset's."""
    recipe = presets.load(Kind.LORA, _PRESET, sources.overrides(data))
    found = [size for each in sources.recipes(data, recipe) if (size := buckets.sides(each))]
    return max(_LEAST_SIDE, *(math.isqrt(width * height) for width, height in found))


def shrunk_size(recipe: Recipe, width: int, height: int) -> tuple[int, int]:
    """The size to shrink a picture to: it still covers its bucket, with a margin."""
    bucket = largest_bucket.largest(recipe, [PictureFile(Path(), width, height, 1)])
    if bucket is None:
        return width, height
    needed = max(bucket.width / width, bucket.height / height)
    if needed * TOO_LARGE >= 1:
        return width, height
    return math.ceil(width * needed * MARGIN), math.ceil(height * needed * MARGIN)


def require_apart(data: Path, folder: Path) -> None:
    """UsageError if one folder contains the other."""
    one, other = (Path(os.path.realpath(path)) for path in (data, folder))
    if one == other:
        raise UsageError(f"--to is {data} itself: the originals are never touched", "give --to a new folder")
    if one in other.parents or other in one.parents:
        inner, outer = (folder, data) if one in other.parents else (data, folder)
        raise UsageError(f"{inner} lies within {outer}", "give --to a new folder beside it")
    if files.exists(folder) and not files.is_folder(folder):
        raise UsageError(f"{folder} is a file, not a folder", "give --to a new folder")


def require_complete(fixed: FixResult) -> None:
    """DatasetError if anything of the user's is missing from the copy. Everything else is done by then."""
    entries = fixed.needing_attention
    if not entries:
        return
    problems = [Problem(entry.line) for entry in entries[:_SHOWN]]
    odd = any(fixing.UNTOLD in entry.did for entry in entries)
    encoding = "or name the captions' encoding: --encoding cp1251" if odd else None
    more = f"{len(entries) - _SHOWN} more: {fixed.log}" if len(entries) > _SHOWN else None
    hint = "\n".join(
        filter(None, ("the copy lacks them: repair the originals and run the same command again", encoding, more))
    )
    raise DatasetError([*problems[:-1], Problem(problems[-1].message, hint)])
