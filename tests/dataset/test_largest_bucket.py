"""The pixels that are on the GPU at once at most, by sd-scripts' own way to sort pictures into buckets."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_train_cli.dataset import largest_bucket
from sdxl_train_cli.dataset.folders import PictureFile
from sdxl_train_cli.recipe import Kind, Recipe, Value
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override

sides = st.integers(16, 6000)


def recipe(**changes: Value | None) -> Recipe:
    return presets.load(Kind.LORA, "dim32-gc", [Override(option, value, "") for option, value in changes.items()])


def picture(width: int, height: int, repeats: int = 1) -> PictureFile:
    return PictureFile(Path(f"{width}x{height}.png"), width, height, repeats)


def test_the_largest_bucket_is_the_one_of_most_pixels() -> None:
    found = largest_bucket.largest(recipe(), [picture(1216, 832, 9), picture(1024, 1024), picture(1000, 1000)])

    assert found is not None
    assert (found.width, found.height, found.count) == (1024, 1024, 2)


def test_a_batch_is_no_fuller_than_its_bucket() -> None:
    pictures = [picture(1216, 832, 5), picture(1024, 1024)]
    found = largest_bucket.fullest(recipe(train_batch_size=4), pictures)

    assert found is not None
    bucket, together = found
    assert (bucket.width, bucket.height, together) == (1216, 832, 4)


@pytest.mark.parametrize("changes", [{"resolution": None}, {"resolution": "x"}, {"resolution": "0,0"}])
def test_without_pictures_or_a_size_there_is_none(changes: dict[str, Value | None]) -> None:
    assert largest_bucket.largest(recipe(), []) is None
    assert largest_bucket.fullest(recipe(**changes), [picture(64, 64)]) is None


@given(st.lists(st.builds(picture, sides, sides), min_size=1, max_size=20), st.booleans(), st.integers(1, 9))
def test_no_bucket_has_more_pixels_than_the_resolution(pictures: list[PictureFile], small: bool, batch: int) -> None:
    asked = recipe(bucket_no_upscale=small, train_batch_size=batch)
    largest = largest_bucket.largest(asked, pictures)
    fullest = largest_bucket.fullest(asked, pictures)

    # Alone a picture that is narrower than a step has none.
    too_narrow = small and all(min(one.width, one.height) < 64 or _shape(one) > 100 for one in pictures)
    assert too_narrow or (largest is not None and fullest is not None)
    assert largest is None or 0 < largest.pixels <= 1024 * 1024
    assert fullest is None or 1 <= fullest[1] <= batch


def _shape(one: PictureFile) -> float:
    return max(one.width, one.height) / min(one.width, one.height)
