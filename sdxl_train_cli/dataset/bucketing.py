"""Assign pictures to buckets as sd-scripts does: which bucket, what is cropped, and how many steps result.

Matches sd-scripts v0.10.1 to the pixel and to the batch (library/train_util.py: BucketManager, DreamBoothDataset,
split_train_val, trim_and_resize_if_required; library/model_util.py: make_bucket_resolutions), and v0.11.1, which may
skip small pictures besides. Each dataset of a run has its own buckets and its own batch size.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from sdxl_train_cli.dataset.dataset_parts import DatasetPart
from sdxl_train_cli.dataset.folders import PictureFile
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.sdscripts import buckets, shipped

Size = tuple[int, int]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom; right and bottom are exclusive."""


@dataclass(frozen=True)
class BucketedPicture:
    """One picture in its bucket."""

    picture: PictureFile
    repeats: int
    """Times per epoch. Regularisation pictures are repeated until they match the training pictures."""
    resized: Size
    """Size before cropping to the bucket, in pixels."""
    bucket: Size

    @property
    def box(self) -> Box:
        """The part of the resized picture that is kept: its centre. `random_crop` moves it, at the same size."""
        left, top = ((side - kept) // 2 for side, kept in zip(self.resized, self.bucket, strict=True))
        return left, top, left + self.bucket[0], top + self.bucket[1]

    @property
    def crop(self) -> Box:
        """The kept part in pixels of the original file, rounded."""
        across, down = self.picture.width / self.resized[0], self.picture.height / self.resized[1]
        left, top, right, bottom = self.box
        return round(left * across), round(top * down), round(right * across), round(bottom * down)

    @property
    def enlarged(self) -> float:
        """Scale factor of the sides: above 1 the picture is enlarged, below 1 it is shrunk."""
        return max(self.resized[0] / self.picture.width, self.resized[1] / self.picture.height)

    @property
    def lost(self) -> float:
        """Share of the area that is cropped away, 0 to 1."""
        return 1 - self.bucket[0] * self.bucket[1] / (self.resized[0] * self.resized[1])


@dataclass(frozen=True)
class Bucket:
    """Pictures of one dataset trained at one size. A batch holds pictures of a single bucket."""

    width: int
    height: int
    batch_size: int
    """Pictures in a full batch of its dataset."""
    placed: tuple[BucketedPicture, ...]

    @property
    def count(self) -> int:
        """Pictures including repeats. No batch holds more."""
        return sum(placed.repeats for placed in self.placed)

    @property
    def pixels(self) -> int:
        """Pixels of one picture."""
        return self.width * self.height

    @property
    def batches(self) -> int:
        """Batches per epoch. The last one may be short; none is dropped."""
        return -(-self.count // self.batch_size)

    @property
    def fullest(self) -> int:
        """Pictures in its fullest batch: fewer than the batch size if it has no more."""
        return min(self.batch_size, self.count)

    @property
    def part(self) -> DatasetPart:
        """The dataset that it belongs to."""
        return self.placed[0].picture.part


@dataclass(frozen=True)
class BucketPlan:
    """All pictures of a run in their buckets, and the resulting steps."""

    buckets: tuple[Bucket, ...]
    """Buckets that contain pictures, narrowest first, dataset by dataset."""
    unplaced: tuple[PictureFile, ...]
    """Pictures too narrow for any bucket: less than one step would remain, and sd-scripts fails on them."""
    unused: tuple[PictureFile, ...]
    """Regularisation pictures beyond the number of training pictures."""
    held_back: tuple[PictureFile, ...]
    """Pictures held back for validation."""
    skipped: tuple[PictureFile, ...]
    """Pictures that are no larger than `skip_image_resolution`."""
    is_exact: bool
    """False if `validation_split` is set without `validation_seed`: the held-back pictures are then random."""
    batch_sizes: tuple[int, ...]
    """Batch sizes of the datasets, each once, smallest first."""
    accumulation: int
    """Batches of a process per optimizer step (`gradient_accumulation_steps`)."""
    processes: int
    """Processes that train together, and share an epoch's batches."""
    steps: int
    """Steps of the whole run."""

    @property
    def count(self) -> int:
        """Pictures per epoch, including repeats."""
        return sum(bucket.count for bucket in self.buckets)

    @property
    def batches(self) -> int:
        """Batches per epoch, sd-scripts' own `num batches per epoch`."""
        return sum(bucket.batches for bucket in self.buckets)

    @property
    def dealt(self) -> int:
        """Batches per epoch of each process; some are dealt twice so that each gets as many (accelerate)."""
        return -(-self.batches // self.processes)

    @property
    def batch_words(self) -> str:
        """The batch sizes in words: `4`, or `2 and 8`."""
        return " and ".join(map(str, self.batch_sizes))

    @property
    def steps_per_epoch(self) -> int:
        """Steps per epoch. The last one may accumulate fewer batches."""
        return _steps_per_epoch(self.batches, self.accumulation, self.processes)

    @property
    def epochs(self) -> float:
        """Passes over the pictures in the whole run. 0 without pictures."""
        return self.steps / self.steps_per_epoch if self.batches else 0.0


def arrange(recipe: Recipe, pictures: Sequence[PictureFile]) -> BucketPlan:
    """Sort pictures, as returned by `folders.files`, into buckets.

    Without a `resolution` there are no buckets. Invalid settings are left to the rules to report.
    """
    accumulation = _at_least_one(recipe, "gradient_accumulation_steps")
    parts = [_arrange_part(recipe, part, _of(pictures, part)) for part in dict.fromkeys(each.part for each in pictures)]
    found = tuple(bucket for part in parts for bucket in part.buckets)
    batches = sum(bucket.batches for bucket in found)
    own_sizes = {bucket.batch_size for bucket in found}
    return BucketPlan(
        buckets=found,
        unplaced=tuple(picture for part in parts for picture in part.unplaced),
        unused=tuple(picture for part in parts for picture in part.unused),
        held_back=tuple(picture for part in parts for picture in part.held_back),
        skipped=tuple(picture for part in parts for picture in part.skipped),
        is_exact=all(part.is_exact for part in parts),
        batch_sizes=tuple(sorted(own_sizes or {_at_least_one(recipe, "train_batch_size")})),
        accumulation=accumulation,
        processes=recipe.processes,
        steps=_steps(recipe, _steps_per_epoch(batches, accumulation, recipe.processes)),
    )


def of_several_sizes(arranged: BucketPlan) -> list[Path]:
    """The pictures that are trained at more than one size."""
    sizes = defaultdict[Path, set[Size]](set)
    for placed in (placed for bucket in arranged.buckets for placed in bucket.placed):
        sizes[placed.picture.path].add(placed.bucket)
    return [path for path, found in sizes.items() if len(found) > 1]


@dataclass(frozen=True)
class _Part:
    """The pictures of one dataset in its buckets."""

    buckets: tuple[Bucket, ...]
    unplaced: tuple[PictureFile, ...]
    unused: tuple[PictureFile, ...]
    held_back: tuple[PictureFile, ...]
    skipped: tuple[PictureFile, ...]
    is_exact: bool


def _of(pictures: Sequence[PictureFile], part: DatasetPart) -> list[PictureFile]:
    return [picture for picture in pictures if picture.part == part]


def _arrange_part(recipe: Recipe, part: DatasetPart, pictures: Sequence[PictureFile]) -> _Part:
    """Arrange one dataset, by its own options where it has some."""
    recipe = part.applied(recipe)
    least = buckets.skipped_pixels(recipe)
    skipped = tuple(picture for picture in pictures if picture.width * picture.height <= least)
    large = [picture for picture in pictures if picture.width * picture.height > least] if skipped else pictures
    trained, held_back = _split(recipe, [picture for picture in large if not picture.is_reg])
    taken, unused = _matched(trained, [picture for picture in large if picture.is_reg])
    filled, unplaced = _filled(recipe, taken)
    is_exact = not held_back or not trained or recipe.number("validation_seed") is not None
    return _Part(filled, unplaced, unused, held_back, skipped, is_exact)


def _at_least_one(recipe: Recipe, option: str) -> int:
    return max(1, int(recipe.number(option) or 1))


def _steps_per_epoch(batches: int, accumulation: int, processes: int) -> int:
    return -(-batches // (accumulation * processes))


def _steps(recipe: Recipe, steps_per_epoch: int) -> int:
    epochs, steps = recipe.number("max_train_epochs"), recipe.number("max_train_steps")
    if epochs is not None:
        return int(epochs) * steps_per_epoch
    return int(shipped.default_number("max_train_steps") if steps is None else steps)


def _split(recipe: Recipe, pictures: Sequence[PictureFile]) -> tuple[list[PictureFile], tuple[PictureFile, ...]]:
    """Hold a share of each folder back for validation. Without a seed this is only one possible draw."""
    share, seed = recipe.number("validation_split") or 0.0, recipe.number("validation_seed")
    if not 0 < share <= 1:
        return list(pictures), ()
    trained, held_back = list[PictureFile](), list[PictureFile]()
    for _, folder in groupby(pictures, key=lambda picture: picture.path.parent):
        drawn = list(folder)
        random.Random(int(seed or 0)).shuffle(drawn)  # noqa: S311 - must match sd-scripts' random numbers
        kept = math.ceil(len(drawn) * (1 - share))
        trained += drawn[:kept]
        held_back += drawn[kept:]
    return trained, tuple(held_back)


def _matched(
    trained: Sequence[PictureFile], regularisation: Sequence[PictureFile]
) -> tuple[list[tuple[PictureFile, int]], tuple[PictureFile, ...]]:
    """Pair pictures with their repeats. Regularisation pictures are cut or repeated to match the training pictures."""
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
    batch = _at_least_one(recipe, "train_batch_size")
    return tuple(Bucket(*size, batch, tuple(filled[size])) for size in sorted(filled)), tuple(unplaced)


def _sizes(size: Size, limits: buckets.BucketLimits) -> list[Size]:
    """sd-scripts' predefined resolutions, in its order."""
    area, step = size[0] * size[1], limits.step
    square = int(math.sqrt(area) // step) * step
    found = {(square, square)} if square else set()
    for width in range(max(step, limits.least), limits.most + 1, step):
        height = min(limits.most, area // width // step * step)
        if height >= max(step, limits.least):
            found |= {(width, height), (height, width)}
    return sorted(found)


def _chosen(picture: PictureFile, sizes: Sequence[Size]) -> tuple[Size, Size]:
    """Return the size before cropping and the bucket: the one of the nearest shape, covered by the picture."""
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
    """Give the picture a bucket of its own, without enlarging it: shrink to the area, then cut to whole steps."""
    resized = picture.width, picture.height
    if picture.width * picture.height > area:
        resized = _shrunk(picture.width / picture.height, area, step)
    return resized, (_cut(resized[0], step), _cut(resized[1], step))


def _shrunk(shape: float, area: int, step: int) -> Size:
    """Shrink to an area. The side whose rounding distorts less becomes whole steps; the other follows the shape."""
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
