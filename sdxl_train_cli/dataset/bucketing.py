"""Which bucket each picture falls into, what of it is trained on, and how many steps that makes.

Everything is as sd-scripts v0.10.1 does it (library/train_util.py: BucketManager, DreamBoothDataset, split_train_val,
trim_and_resize_if_required; library/model_util.py: make_bucket_resolutions), to the pixel and to the batch.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from sdxl_train_cli.dataset.folders import PictureFile
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.sdscripts import buckets, shipped

Size = tuple[int, int]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom; the last two are the first that are not in it."""


@dataclass(frozen=True)
class BucketedPicture:
    """One picture in its bucket."""

    picture: PictureFile
    repeats: int
    """How often an epoch takes it: regularisation pictures are repeated until they match the others."""
    resized: Size
    """Before it is cut to its bucket, in pixels."""
    bucket: Size

    @property
    def box(self) -> Box:
        """What is kept of the resized picture: its middle. `random_crop` moves it about, at the same size."""
        left, top = ((side - kept) // 2 for side, kept in zip(self.resized, self.bucket, strict=True))
        return left, top, left + self.bucket[0], top + self.bucket[1]

    @property
    def crop(self) -> Box:
        """The same in pixels of the file, rounded."""
        across, down = self.picture.width / self.resized[0], self.picture.height / self.resized[1]
        left, top, right, bottom = self.box
        return round(left * across), round(top * down), round(right * across), round(bottom * down)

    @property
    def enlarged(self) -> float:
        """By what factor its sides grow: above 1 it is enlarged, below 1 shrunk."""
        return max(self.resized[0] / self.picture.width, self.resized[1] / self.picture.height)

    @property
    def lost(self) -> float:
        """The share of its area that is cropped away: 0 to 1."""
        return 1 - self.bucket[0] * self.bucket[1] / (self.resized[0] * self.resized[1])


@dataclass(frozen=True)
class Bucket:
    """Pictures that are trained on at one size; a batch is filled from one bucket alone."""

    width: int
    height: int
    placed: tuple[BucketedPicture, ...]

    @property
    def count(self) -> int:
        """Pictures with their repeats: no batch holds more."""
        return sum(placed.repeats for placed in self.placed)

    @property
    def pixels(self) -> int:
        """Of one picture."""
        return self.width * self.height

    def batches(self, batch_size: int) -> int:
        """Batches in an epoch; the last may be short, and none is dropped."""
        return -(-self.count // batch_size)


@dataclass(frozen=True)
class BucketPlan:
    """All pictures of a run in their buckets, and the steps that they make."""

    buckets: tuple[Bucket, ...]
    """Those that have pictures, narrow ones first."""
    unplaced: tuple[PictureFile, ...]
    """Too narrow: less than a step would be left of them, and sd-scripts fails."""
    unused: tuple[PictureFile, ...]
    """Regularisation pictures beyond what matches the training pictures."""
    held_back: tuple[PictureFile, ...]
    """For validation."""
    is_exact: bool
    """False where `validation_split` has no `validation_seed`: which pictures are held back is drawn by chance."""
    batch_size: int
    accumulation: int
    """Batches whose gradients make one step (`gradient_accumulation_steps`)."""
    gpus: int
    steps: int
    """Of the whole run."""

    @property
    def count(self) -> int:
        """Pictures that an epoch takes, with their repeats."""
        return sum(bucket.count for bucket in self.buckets)

    @property
    def batches(self) -> int:
        """In an epoch, of all GPUs together: `num batches per epoch` on one of them."""
        return sum(bucket.batches(self.batch_size) for bucket in self.buckets)

    @property
    def steps_per_epoch(self) -> int:
        """The last of an epoch may be made of fewer batches."""
        return _steps_per_epoch(self.batches, self.gpus, self.accumulation)

    @property
    def epochs(self) -> float:
        """How often the run takes every picture; 0 where there is none."""
        return self.steps / self.steps_per_epoch if self.batches else 0.0


def arrange(recipe: Recipe, pictures: Sequence[PictureFile], gpus: int = 1) -> BucketPlan:
    """Sort pictures, as `folders.files` gives them, into buckets.

    Without a `resolution` there are no buckets. Settings that sd-scripts refuses are the rulebook's to refuse.
    """
    batch_size, accumulation = _at_least_one(recipe, "train_batch_size", "gradient_accumulation_steps")
    trained, held_back = _split(recipe, [picture for picture in pictures if not picture.is_reg])
    taken, unused = _matched(trained, [picture for picture in pictures if picture.is_reg])
    found, unplaced = _filled(recipe, taken)
    batches = sum(bucket.batches(batch_size) for bucket in found)
    return BucketPlan(
        buckets=found,
        unplaced=unplaced,
        unused=unused,
        held_back=held_back,
        is_exact=not held_back or recipe.number("validation_seed") is not None,
        batch_size=batch_size,
        accumulation=accumulation,
        gpus=gpus,
        steps=_steps(recipe, _steps_per_epoch(batches, gpus, accumulation)),
    )


def _at_least_one(recipe: Recipe, *options: str) -> list[int]:
    return [max(1, int(recipe.number(option) or 1)) for option in options]


def _steps_per_epoch(batches: int, gpus: int, accumulation: int) -> int:
    return -(-batches // gpus // accumulation)


def _steps(recipe: Recipe, steps_per_epoch: int) -> int:
    epochs, steps = recipe.number("max_train_epochs"), recipe.number("max_train_steps")
    if epochs is not None:
        return int(epochs) * steps_per_epoch
    return int(shipped.default_number("max_train_steps") if steps is None else steps)


def _split(recipe: Recipe, pictures: Sequence[PictureFile]) -> tuple[list[PictureFile], tuple[PictureFile, ...]]:
    """Hold a share of each folder back for validation; without a seed the draw is one of many."""
    share, seed = recipe.number("validation_split") or 0.0, recipe.number("validation_seed")
    if not 0 < share <= 1:
        return list(pictures), ()
    trained, held_back = list[PictureFile](), list[PictureFile]()
    for _, folder in groupby(pictures, key=lambda picture: picture.path.parent):
        drawn = list(folder)
        random.Random(int(seed or 0)).shuffle(drawn)  # noqa: S311 - the very numbers that sd-scripts draws
        kept = math.ceil(len(drawn) * (1 - share))
        trained += drawn[:kept]
        held_back += drawn[kept:]
    return trained, tuple(held_back)


def _matched(
    trained: Sequence[PictureFile], regularisation: Sequence[PictureFile]
) -> tuple[list[tuple[PictureFile, int]], tuple[PictureFile, ...]]:
    """Each picture with its repeats: regularisation pictures are cut, or repeated, to as many as are trained on."""
    taken = [(picture, picture.repeats) for picture in trained]
    wanted = sum(repeats for _, repeats in taken)
    used = list[PictureFile]()
    for picture in regularisation:
        if wanted <= 0:
            break
        used.append(picture)
        wanted -= picture.repeats
    each, more = divmod(max(0, wanted), len(used)) if used else (0, 0)
    taken += [(picture, picture.repeats + each + (place < more)) for place, picture in enumerate(used)]
    return taken, tuple(regularisation[len(used) :])


def _filled(
    recipe: Recipe, taken: Sequence[tuple[PictureFile, int]]
) -> tuple[tuple[Bucket, ...], tuple[PictureFile, ...]]:
    size = buckets.sides(recipe)
    if size is None or min(size) < 1:
        return (), ()
    sizes = _sizes(size, buckets.limits(recipe)) if recipe.is_on("enable_bucket") else [size]
    own_size = recipe.is_on("enable_bucket") and recipe.is_on("bucket_no_upscale")
    filled: dict[Size, list[BucketedPicture]] = defaultdict(list)
    of_size: dict[Size, tuple[Size, Size]] = {}
    """Few datasets have as many sizes as pictures."""
    unplaced = []
    for picture, repeats in taken:
        if min(picture.width, picture.height) < 1:
            unplaced.append(picture)
            continue
        stored = picture.width, picture.height
        if stored not in of_size:
            of_size[stored] = (
                _own(picture, size[0] * size[1], buckets.limits(recipe).step) if own_size else _chosen(picture, sizes)
            )
        resized, bucket = of_size[stored]
        if min(bucket) < 1:
            unplaced.append(picture)
        else:
            filled[bucket].append(BucketedPicture(picture, repeats, resized, bucket))
    return tuple(Bucket(*bucket, tuple(filled[bucket])) for bucket in sorted(filled)), tuple(unplaced)


def _sizes(size: Size, limits: buckets.BucketLimits) -> list[Size]:
    """What sd-scripts calls the predefined resolutions, in its order."""
    area, step = size[0] * size[1], limits.step
    square = int(math.sqrt(area) // step) * step
    found = {(square, square)} if square else set()
    for width in range(max(step, limits.least), limits.most + 1, step):
        height = min(limits.most, area // width // step * step)
        if height >= max(step, limits.least):
            found |= {(width, height), (height, width)}
    return sorted(found)


def _chosen(picture: PictureFile, sizes: Sequence[Size]) -> tuple[Size, Size]:
    """The size before cropping and the bucket: of the nearest shape, which the picture covers."""
    width, height = picture.width, picture.height
    shape = width / height
    if (width, height) in sizes:
        bucket = width, height
    else:
        bucket = min(sizes, key=lambda each: abs(each[0] / each[1] - shape), default=(0, 0))
    if min(bucket) < 1:
        return bucket, bucket
    scale = bucket[1] / height if shape > bucket[0] / bucket[1] else bucket[0] / width
    return (int(width * scale + 0.5), int(height * scale + 0.5)), bucket


def _own(picture: PictureFile, area: int, step: int) -> tuple[Size, Size]:
    """Without enlargement each picture has a bucket of its own: shrunk to the area, then cut to whole steps."""
    resized = picture.width, picture.height
    if picture.width * picture.height > area:
        resized = _shrunk(picture.width / picture.height, area, step)
    return resized, (_cut(resized[0], step), _cut(resized[1], step))


def _shrunk(shape: float, area: int, step: int) -> Size:
    """One side becomes whole steps, the one by which the shape changes less; the other follows the shape."""
    width = math.sqrt(area * shape)
    by_width = _cut(width, step), _cut(_cut(width, step) / shape, step)
    by_height = _cut(_cut(area / width, step) * shape, step), _cut(area / width, step)
    if not by_width[1] or not by_height[1]:
        return 0, 0  # sd-scripts divides by it
    if abs(by_width[0] / by_width[1] - shape) < abs(by_height[0] / by_height[1] - shape):
        return by_width[0], int(by_width[0] / shape + 0.5)
    return int(by_height[1] * shape + 0.5), by_height[1]


def _cut(side: float, step: int) -> int:
    return int(side + 0.5) // step * step
