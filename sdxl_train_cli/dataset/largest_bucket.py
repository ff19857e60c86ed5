"""How many pixels a run has on the GPU at once at most: the fullest batch of its dataset, and which pictures are in it.

sd-scripts fills a batch from one bucket alone, so a small dataset may never fill it, and a bucket of another shape has
a few pixels less than `resolution` (library/train_util.py, BucketManager; library/model_util.py,
make_bucket_resolutions).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sdxl_train_cli.dataset.folders import Picture
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.rulebook import buckets

Size = tuple[int, int]


@dataclass(frozen=True)
class Bucket:
    """Pictures that are trained on at one size."""

    width: int
    height: int
    pictures: tuple[Picture, ...]

    @property
    def count(self) -> int:
        """Pictures with their repeats: no batch holds more."""
        return sum(picture.repeats for picture in self.pictures)

    @property
    def pixels(self) -> int:
        """Of one picture."""
        return self.width * self.height


def largest(recipe: Recipe, pictures: Sequence[Picture]) -> Bucket | None:
    """The bucket of the most pixels, the fuller one of two; None without pictures or a size to train at."""
    found = of(recipe, pictures)
    return max(found, key=lambda bucket: (bucket.pixels, bucket.count), default=None)


def fullest(recipe: Recipe, pictures: Sequence[Picture]) -> tuple[Bucket, int] | None:
    """The bucket whose batch has the most pixels at the recipe's batch size, and how many pictures that batch holds."""
    batch = int(recipe.number("train_batch_size") or 1)
    found = [(bucket, min(batch, bucket.count)) for bucket in of(recipe, pictures)]
    return max(found, key=lambda each: (each[0].pixels * each[1], each[0].pixels), default=None)


def of(recipe: Recipe, pictures: Sequence[Picture]) -> list[Bucket]:
    """Every bucket that has pictures."""
    size = buckets.sides(recipe)
    if size is None or min(size) < 1:
        return []
    if not recipe.is_on("enable_bucket"):
        return [Bucket(*size, tuple(pictures))] if pictures else []
    sizes = _sizes(size, recipe)
    filled: dict[Size, list[Picture]] = defaultdict(list)
    for picture in pictures:
        filled[_chosen(picture, size, sizes, recipe)].append(picture)
    return [Bucket(*chosen, tuple(inside)) for chosen, inside in filled.items()]


def _chosen(picture: Picture, size: Size, sizes: Sequence[Size], recipe: Recipe) -> Size:
    if recipe.is_on("bucket_no_upscale"):
        return _own(picture, size[0] * size[1], _step(recipe))
    if (picture.width, picture.height) in sizes:
        return picture.width, picture.height
    shape = picture.width / picture.height
    return min(sizes, key=lambda each: abs(each[0] / each[1] - shape))


def _sizes(size: Size, recipe: Recipe) -> list[Size]:
    """What sd-scripts calls the predefined resolutions, in its order."""
    step = _step(recipe)
    least = _limit(recipe, "min", 256) // step * step
    most = -(-_limit(recipe, "max", 1024) // step) * step
    area = size[0] * size[1]
    square = max(step, math.isqrt(area) // step * step)
    found = {(square, square)}
    for width in range(max(step, least), most + 1, step):
        height = min(most, area // width // step * step)
        if height >= max(step, least):
            found |= {(width, height), (height, width)}
    return sorted(found)


def _own(picture: Picture, area: int, step: int) -> Size:
    """Without enlargement each picture has a size of its own: shrunk to the area, then cut to whole steps."""
    width, height = picture.width, picture.height
    if width * height > area:
        width, height = _shrunk(width / height, area, step)
    return max(step, width // step * step), max(step, height // step * step)


def _shrunk(shape: float, area: int, step: int) -> Size:
    """One side becomes whole steps, the one by which the shape changes less; the other follows the shape."""
    width, height = math.sqrt(area * shape), math.sqrt(area / shape)
    by_width = _cut(width, step), _cut(_cut(width, step) / shape, step)
    by_height = _cut(_cut(height, step) * shape, step), _cut(height, step)
    if abs(by_width[0] / by_width[1] - shape) < abs(by_height[0] / by_height[1] - shape):
        return by_width[0], int(by_width[0] / shape + 0.5)
    return int(by_height[1] * shape + 0.5), by_height[1]


def _cut(side: float, step: int) -> int:
    return max(step, int(side + 0.5) // step * step)


def _limit(recipe: Recipe, which: str, default: int) -> int:
    number = recipe.number(f"{which}_bucket_reso")
    return default if number is None else int(number)


def _step(recipe: Recipe) -> int:
    return max(1, int(recipe.number("bucket_reso_steps") or 64))
