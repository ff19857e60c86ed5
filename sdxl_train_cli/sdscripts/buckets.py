"""How sd-scripts interprets resolution and bucket limits (the datasets in library/train_util.py)."""

from __future__ import annotations

from dataclasses import dataclass

from sdxl_train_cli.recipe import Recipe, Value
from sdxl_train_cli.sdscripts import shipped

_SMALL_AREA = 768 * 768


@dataclass(frozen=True)
class BucketLimits:
    """Smallest and largest bucket side in pixels, and the step between sides."""

    least: int
    most: int
    step: int


def sides(recipe: Recipe) -> tuple[int, int] | None:
    """Width and height of `resolution`, possibly given as a list. None if neither `SIZE` nor `WIDTH,HEIGHT`."""
    return _sides(recipe.get("resolution"))


def skipped_pixels(recipe: Recipe) -> int:
    """Pixels of the largest picture that `skip_image_resolution` of v0.11 leaves out; -1 if it is not set."""
    size = _sides(recipe.get("skip_image_resolution"))
    return -1 if size is None else size[0] * size[1]


def _sides(value: Value | None) -> tuple[int, int] | None:
    value = value or ""
    parts = value if isinstance(value, tuple) else str(value).split(",")
    try:
        numbers = [int(part) for part in parts]
    except ValueError:
        return None
    return (numbers[0], numbers[-1]) if len(numbers) in {1, 2} else None


def limits(recipe: Recipe) -> BucketLimits:
    """`min_bucket_reso` rounded down to a step, `max_bucket_reso` rounded up, with sd-scripts' own defaults."""
    step = max(1, int(recipe.number("bucket_reso_steps") or shipped.default_number("bucket_reso_steps")))
    least, most = (_pixels(recipe, option) for option in ("min_bucket_reso", "max_bucket_reso"))
    return BucketLimits(least // step * step, -(-most // step) * step, step)


def _pixels(recipe: Recipe, option: str) -> int:
    typed = recipe.number(option)
    return int(shipped.default_number(option) if typed is None else typed)


def is_small(recipe: Recipe) -> bool:
    """Whether pictures would be far below the size that SDXL was trained for."""
    size = sides(recipe)
    return size is not None and size[0] * size[1] < _SMALL_AREA


def bucket_is_larger_than_resolution(recipe: Recipe) -> bool:
    """Whether `min_bucket_reso`, rounded down to a step, exceeds the shorter side."""
    size = sides(recipe)
    return recipe.is_on("enable_bucket") and size is not None and min(size) < limits(recipe).least


def bucket_is_nothing(recipe: Recipe) -> bool:
    """Whether `min_bucket_reso`, rounded down to a step, is zero. sd-scripts would divide by it."""
    return recipe.is_on("enable_bucket") and limits(recipe).least <= 0


def bucket_is_smaller_than_resolution(recipe: Recipe) -> bool:
    """Whether `max_bucket_reso`, rounded up to a step, falls short of the longer side."""
    size = sides(recipe)
    return recipe.is_on("enable_bucket") and size is not None and max(size) > limits(recipe).most


def sides_do_not_divide(recipe: Recipe) -> bool:
    """Whether the U-Net, which halves the VAE's eighth-size latents, can't rejoin the halves."""
    size = sides(recipe)
    return not recipe.is_on("enable_bucket") and size is not None and any(side % 32 for side in size)
