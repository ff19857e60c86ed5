"""Pictures in their buckets, what is cropped, and the steps: by sd-scripts' rules, which tests/test_upstream_dataset.py
compares with sd-scripts itself."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_train_cli.dataset import bucketing, folders, sources
from sdxl_train_cli.dataset.bucketing import BucketedPicture, BucketPlan
from sdxl_train_cli.dataset.folders import PictureFile
from sdxl_train_cli.recipe import Kind, Recipe, Value
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override

sides = st.integers(1, 8000)


def recipe(**changes: Value | None) -> Recipe:
    return presets.load(Kind.LORA, "dim32-gc", [Override(option, value, "") for option, value in changes.items()])


def picture(width: int, height: int, repeats: int = 1, *, is_reg: bool = False, name: str = "") -> PictureFile:
    return PictureFile(Path(name or f"{width}x{height}.png"), width, height, repeats, is_reg)


def placed(one: PictureFile, **changes: Value | None) -> BucketedPicture:
    """The picture in the bucket that it alone makes."""
    (bucket,) = bucketing.arrange(recipe(**changes), [one]).buckets
    (found,) = bucket.placed
    assert (bucket.width, bucket.height) == found.bucket
    return found


def squares(count: int, repeats: int = 1, **changes: Value | None) -> BucketPlan:
    return bucketing.arrange(recipe(**changes), [picture(1024, 1024, repeats)] * count)


@pytest.mark.parametrize(
    ("size", "bucket"),
    [
        ((1024, 1024), (1024, 1024)),
        ((64, 64), (1024, 1024)),
        ((3000, 2000), (1216, 832)),
        ((832, 1216), (832, 1216)),
        ((1920, 1080), (1344, 768)),
        ((100, 4000), (512, 2048)),
    ],
)
def test_a_picture_falls_into_the_bucket_of_the_nearest_shape(size: tuple[int, int], bucket: tuple[int, int]) -> None:
    assert placed(picture(*size)).bucket == bucket


def test_without_buckets_every_picture_has_the_resolution() -> None:
    found = bucketing.arrange(recipe(enable_bucket=None), [picture(100, 900), picture(900, 100)])

    assert [(bucket.width, bucket.height, bucket.count) for bucket in found.buckets] == [(1024, 1024, 2)]


def test_small_pictures_stay_small_where_nothing_is_enlarged() -> None:
    found = placed(picture(500, 700), bucket_no_upscale=True)

    assert (found.bucket, found.resized, found.enlarged) == ((448, 640), (500, 700), 1)
    assert found.crop == (26, 30, 474, 670)


def test_what_is_cropped_is_the_middle_of_the_picture_in_pixels_of_its_file() -> None:
    found = placed(picture(3000, 2000))

    assert (found.resized, found.bucket) == ((1248, 832), (1216, 832))
    assert found.crop == (38, 0, 2962, 2000)
    assert found.enlarged == pytest.approx(0.416)
    assert found.lost == pytest.approx(32 / 1248)


def test_a_picture_that_is_enlarged_says_by_how_much() -> None:
    assert placed(picture(200, 200)).enlarged == pytest.approx(5.12)


def test_a_picture_narrower_than_a_step_has_no_place_where_nothing_is_enlarged() -> None:
    narrow = picture(40, 700)
    ribbon = picture(16, 200_000)
    found = bucketing.arrange(recipe(bucket_no_upscale=True), [narrow, ribbon, picture(640, 640)])

    assert found.unplaced == (narrow, ribbon)
    assert found.count == 1


@pytest.mark.parametrize("changes", [{"resolution": None}, {"resolution": "x"}, {"resolution": "0,0"}])
def test_without_a_size_to_train_at_there_are_no_buckets(changes: dict[str, Value | None]) -> None:
    found = bucketing.arrange(recipe(**changes), [picture(64, 64)])

    assert (found.buckets, found.batches, found.epochs) == ((), 0, 0)


def test_each_bucket_ends_with_a_batch_of_what_is_left() -> None:
    pictures = [picture(1024, 1024, 3), picture(1216, 832, 2)]
    found = bucketing.arrange(recipe(train_batch_size=2), pictures)

    assert [(bucket.width, bucket.batches) for bucket in found.buckets] == [(1024, 2), (1216, 1)]
    assert (found.count, found.batches, found.steps_per_epoch) == (5, 3, 3)


@pytest.mark.parametrize(("accumulation", "steps"), [(1, 10), (2, 5), (4, 3), (9, 2), (16, 1)])
def test_accumulated_batches_of_an_epoch_make_one_step(accumulation: int, steps: int) -> None:
    asked = recipe(gradient_accumulation_steps=accumulation, max_train_epochs=7)
    found = bucketing.arrange(asked, [picture(1024, 1024, 10)])

    assert (found.batches, found.steps_per_epoch, found.steps, found.epochs) == (10, steps, 7 * steps, 7)


def test_steps_are_taken_as_they_are_and_make_so_many_epochs() -> None:
    found = squares(8, 5, max_train_steps=100)

    assert (found.steps, found.steps_per_epoch, found.epochs) == (100, 40, 2.5)
    assert squares(8, max_train_steps=None).steps == 1600


def test_regularisation_pictures_are_repeated_until_they_match() -> None:
    cats = [picture(1024, 1024, 5), picture(1000, 1000, 5)]
    pets = [picture(1024, 1024, 2, is_reg=True, name=name) for name in "abc"]
    found = bucketing.arrange(recipe(), [*cats, *pets])

    (bucket,) = found.buckets
    assert [one.repeats for one in bucket.placed] == [5, 5, 4, 3, 3]
    assert (found.count, found.unused) == (20, ())


def test_regularisation_pictures_beyond_what_matches_are_not_used() -> None:
    pets = [picture(1024, 1024, 2, is_reg=True, name=name) for name in "abc"]
    found = bucketing.arrange(recipe(), [picture(1024, 1024, 3), *pets])

    assert found.unused == (pets[2],)
    assert found.count == 3 + 4


def test_what_is_held_back_for_validation_makes_no_steps() -> None:
    pictures = [picture(1024, 1024, name=f"{number}.png") for number in range(10)]
    drawn = bucketing.arrange(recipe(validation_split=0.25, validation_seed=7), pictures)

    assert (drawn.count, len(drawn.held_back), drawn.is_exact) == (8, 2, True)
    assert not bucketing.arrange(recipe(validation_split=0.25), pictures).is_exact


def test_files_tell_which_pictures_are_for_regularisation(tmp_path: Path, pictures: Path) -> None:
    pictures.rename(tmp_path / "3_cat")
    for name in ("4_a", "5_b"):
        (tmp_path / "reg" / name).mkdir(parents=True)
        (tmp_path / "reg" / name / "x.png").write_bytes((tmp_path / "3_cat" / "0.png").read_bytes())
    (tmp_path / "data").mkdir()
    (tmp_path / "3_cat").rename(tmp_path / "data" / "3_cat")
    found = sources.scan(tmp_path / "data", regularisation=tmp_path / "reg", repeats=None, trigger=None)

    assert [(one.repeats, one.is_reg) for one in folders.files(found)] == [(3, False)] * 3 + [(4, True), (5, True)]


@given(
    st.lists(st.builds(picture, sides, sides, st.integers(1, 9), is_reg=st.booleans()), max_size=20),
    st.booleans(),
    st.integers(1, 9),
    st.sampled_from([32, 64, 128]),
)
def test_every_picture_is_somewhere_and_none_is_cropped_beyond_its_edges(
    pictures: list[PictureFile], small: bool, batch: int, step: int
) -> None:
    found = bucketing.arrange(recipe(bucket_no_upscale=small, train_batch_size=batch, bucket_reso_steps=step), pictures)

    inside = [one for bucket in found.buckets for one in bucket.placed]
    assert len(inside) + len(found.unplaced) + len(found.unused) == len(pictures)
    assert found.batches >= math.ceil(found.count / batch)
    for one in inside:
        left, top, right, bottom = one.crop
        assert 0 <= left < right <= one.picture.width or one.picture.width < one.bucket[0]
        assert 0 <= top < bottom <= one.picture.height or one.picture.height < one.bucket[1]
        assert all(kept % step == 0 and kept <= side for kept, side in zip(one.bucket, one.resized, strict=True))
        assert 0 <= one.lost < 1
