"""The most pixels that a run holds on the GPU at once: the fullest batch of its dataset, and the pictures in it.

sd-scripts fills a batch from one bucket only, so a small dataset may never fill it, and a bucket of another shape has
slightly fewer pixels than `resolution`.
"""

from __future__ import annotations

from collections.abc import Sequence

from sdxl_train_cli.dataset import bucketing
from sdxl_train_cli.dataset.bucketing import Bucket
from sdxl_train_cli.dataset.folders import PictureFile
from sdxl_train_cli.recipe import Recipe


def largest(recipe: Recipe, pictures: Sequence[PictureFile]) -> Bucket | None:
    """The bucket with the most pixels; of two, the fuller one. None without pictures or a training size."""
    found = bucketing.arrange(recipe, pictures).buckets
    return max(found, key=lambda bucket: (bucket.pixels, bucket.count), default=None)


def fullest(recipe: Recipe, pictures: Sequence[PictureFile]) -> tuple[Bucket, int] | None:
    """The bucket whose batch has the most pixels, and the pictures in that batch."""
    found = [(bucket, bucket.fullest) for bucket in bucketing.arrange(recipe, pictures).buckets]
    return max(found, key=lambda each: (each[0].pixels * each[1], each[0].pixels), default=None)
