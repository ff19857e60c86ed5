"""What sd-scripts makes of resolution and of the limits of its buckets (the datasets in library/train_util.py)."""

from __future__ import annotations

from sdxl_train_cli.recipe import Recipe

_SMALL_AREA = 768 * 768


def sides(recipe: Recipe) -> tuple[int, int] | None:
    """Width and height of `resolution`; None where it is neither `SIZE` nor `WIDTH,HEIGHT`."""
    try:
        numbers = [int(part) for part in str(recipe.get("resolution") or "").split(",")]
    except ValueError:
        return None
    return (numbers[0], numbers[-1]) if len(numbers) in {1, 2} else None


def is_small(recipe: Recipe) -> bool:
    """Whether pictures would be far smaller than what SDXL was made for."""
    size = sides(recipe)
    return size is not None and size[0] * size[1] < _SMALL_AREA


def bucket_is_larger_than_resolution(recipe: Recipe) -> bool:
    """Whether `min_bucket_reso`, rounded down to a step, exceeds the shorter side."""
    size, step = sides(recipe), _step(recipe)
    return recipe.is_on("enable_bucket") and size is not None and min(size) < _limit(recipe, "min", 256) // step * step


def bucket_is_nothing(recipe: Recipe) -> bool:
    """Whether `min_bucket_reso`, rounded down to a step, is zero, by which sd-scripts divides."""
    return recipe.is_on("enable_bucket") and _limit(recipe, "min", 256) < _step(recipe)


def bucket_is_smaller_than_resolution(recipe: Recipe) -> bool:
    """Whether `max_bucket_reso`, rounded up to a step, falls short of the longer side."""
    size, step = sides(recipe), _step(recipe)
    largest = -(-_limit(recipe, "max", 1024) // step) * step
    return recipe.is_on("enable_bucket") and size is not None and max(size) > largest


def sides_do_not_divide(recipe: Recipe) -> bool:
    """Whether the U-Net, which halves its input after the VAE's eighth, could not put the halves together again."""
    size = sides(recipe)
    return not recipe.is_on("enable_bucket") and size is not None and any(side % 32 for side in size)


def _limit(recipe: Recipe, which: str, default: int) -> int:
    number = recipe.number(f"{which}_bucket_reso")
    return default if number is None else int(number)


def _step(recipe: Recipe) -> int:
    return max(1, int(recipe.number("bucket_reso_steps") or 64))
