"""How well the pictures fit the recipe: enlargement and cropping by bucket, and passes over each picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from sdxl_train_cli.dataset import bucketing
from sdxl_train_cli.dataset.bucketing import BucketPlan
from sdxl_train_cli.dataset.file_facts import Finding
from sdxl_train_cli.dataset.finding_kinds import ERROR, WARNING, FindingKind, Hit
from sdxl_train_cli.dataset.folders import PictureFile
from sdxl_train_cli.recipe import Recipe

_ENLARGED = 1.1
"""Enlargement is visible above this factor."""
_LOST = 0.1
"""Share of a picture that can be cropped unnoticed."""
_FEW_PASSES, _FEW_VIEWS = 5, 1000
"""A run with fewer passes over each picture learns little, unless it has very many pictures."""
MANY_PASSES = 300
"""With more passes, pictures are memorised."""

_TOO_NARROW = FindingKind(
    "too-narrow", ERROR, "{file} is {detail}: no part of it fits into a bucket",
    "{count} pictures are too small or narrow to fit into a bucket",
    "leave it out, or use a larger one",
)  # fmt: skip
_IS_ENLARGED = FindingKind(
    "enlarged", WARNING, "{file} is enlarged {detail}, and trains blurred",
    "{count} pictures are enlarged, and train blurred",
    "use larger ones; or keep their size: --set bucket_no_upscale=true; or train smaller: --resolution",
)  # fmt: skip
_IS_CROPPED = FindingKind(
    "cropped", WARNING, "{file} loses {detail} of its area to the crop", "{count} pictures lose a lot to the crop",
    "crop them yourself to what matters; `sdxl-train dataset show` draws the frames",
)  # fmt: skip
_SHORT = FindingKind(
    "small-bucket", WARNING, "{file} is in a bucket with less than a full batch: {detail}",
    "{count} pictures are in buckets with less than a full batch",
    "their steps count as much as full ones; crop them to the shape of others, or use a smaller --batch-size",
)  # fmt: skip
_UNUSED = FindingKind(
    "unused-regularisation", WARNING,
    "{file} is not used: there are more regularisation pictures than training pictures",
    "{count} regularisation pictures are not used: there are more of them than training pictures with repeats",
    "use fewer of them, or repeat the training pictures more often",
)  # fmt: skip
_PARTIAL = FindingKind(
    "accumulation-over-epoch", WARNING, "",
    "a pass over the pictures has {batches} batches, and gradient_accumulation_steps is {accumulation}: each step ends "
    "with the pass, and its gradient is divided by more than was added up",
    "--set gradient_accumulation_steps={batches}, or more --repeats",
)  # fmt: skip
_FEW = FindingKind(
    "few-passes", WARNING, "",
    "{steps} steps show each of the {pictures} pictures {seen}: too few to learn them",
    "--steps {better}, or --epochs",
)  # fmt: skip
_BEHIND = FindingKind(
    "epoch-behind", ERROR, "",
    "initial_epoch {epoch} begins behind the end: an epoch has {each} steps, and the run {steps} in all",
    "or a larger number of --steps: the total of the whole run", ways=("initial_epoch=null",),
)  # fmt: skip
_NONE_LEFT = FindingKind(
    "none-left", ERROR, "", "all {count} pictures are held back for validation, and none is left to train on",
    "give the pictures to train on a dataset without validation_split", ways=("validation_split=0.1",),
)  # fmt: skip
_ALL_SKIPPED = FindingKind(
    "all-skipped", ERROR, "", "skip_image_resolution leaves out {count} pictures, and none is left to train on",
    ways=("skip_image_resolution=null",),
)  # fmt: skip
_IN_BOTH = FindingKind(
    "trained-and-validated", WARNING, "{file} is validated on in one dataset and may be trained on in another",
    "{count} pictures are validated on in one dataset and may be trained on in another, so the loss of validation "
    "says little",
    "with validation_seed, all datasets hold back the same ones; give validation a folder that no other dataset has",
)  # fmt: skip
_MANY = FindingKind(
    "many-passes", WARNING, "",
    "{steps} steps show each of the {pictures} pictures {seen}: enough to memorise them",
    "--steps {better}, or more pictures",
)  # fmt: skip


def find(recipe: Recipe, pictures: Sequence[PictureFile]) -> Iterator[Finding]:
    """Yield the findings, worst pictures first. Nothing about steps if there is nothing to train on."""
    arranged = bucketing.arrange(recipe, pictures)
    yield from _TOO_NARROW.of_files([(each.path, f"{each.width}x{each.height}") for each in arranged.unplaced])
    placed = [each for bucket in arranged.buckets for each in bucket.placed]
    enlarged = sorted((each for each in placed if each.enlarged > _ENLARGED), key=lambda each: -each.enlarged)
    yield from _IS_ENLARGED.of_files([(each.picture.path, f"{each.enlarged:.1f} times") for each in enlarged])
    cropped = sorted((each for each in placed if each.lost > _LOST), key=lambda each: -each.lost)
    yield from _IS_CROPPED.of_files([(each.picture.path, f"{each.lost:.0%}") for each in cropped])
    yield from _SHORT.of_files(_in_short_buckets(arranged))
    yield from _UNUSED.of_files([(each.path, "") for each in arranged.unused])
    if 0 < arranged.dealt < arranged.accumulation:
        yield from _PARTIAL.of_dataset(batches=arranged.dealt, accumulation=arranged.accumulation)
    yield from _passes(arranged)
    if pictures and len(arranged.held_back) == len([each for each in pictures if not each.is_reg]):
        yield from _NONE_LEFT.of_dataset(count=len(arranged.held_back))
    if pictures and not placed and arranged.skipped:
        yield from _ALL_SKIPPED.of_dataset(count=len(arranged.skipped))
    yield from _IN_BOTH.of_files(_in_both(arranged))
    epoch = recipe.number("initial_epoch")
    skipped = int((epoch or 1) - 1) * arranged.steps_per_epoch
    if epoch is not None and recipe.number("initial_step") is None and skipped >= max(1, arranged.steps):
        yield from _BEHIND.of_dataset(epoch=int(epoch), each=arranged.steps_per_epoch, steps=arranged.steps)


def _in_both(arranged: BucketPlan) -> list[Hit]:
    """Pictures of several datasets that one of them holds back, unless all of them do. Without a seed none is sure."""
    placed = [each.picture for bucket in arranged.buckets for each in bucket.placed]
    trained = {picture.path for picture in placed}
    datasets = Counter(picture.path for picture in {*placed, *arranged.held_back})
    found = dict.fromkeys(picture.path for picture in arranged.held_back)
    return [(path, "") for path in found if path in trained or (datasets[path] > 1 and not arranged.is_exact)]


def _in_short_buckets(arranged: BucketPlan) -> list[Hit]:
    return [
        (each.picture.path, f"{bucket.count} for a batch of {bucket.batch_size} at {bucket.width}x{bucket.height}")
        for bucket in arranged.buckets
        if bucket.count < bucket.batch_size
        for each in bucket.placed
    ]


def _passes(arranged: BucketPlan) -> list[Finding]:
    trained = [each for bucket in arranged.buckets for each in bucket.placed if not each.picture.is_reg]
    if not trained:
        return []
    count = len({each.picture.path for each in trained})
    views = arranged.epochs * sum(each.repeats for each in trained)
    passes = views / count
    per_pass = arranged.steps / passes if passes else 0
    seen = f"{passes:.0f}" if passes >= 10 else f"{passes:.2g}"  # noqa: PLR2004 - another digit is meaningless
    words: dict[str, str | int] = {
        "steps": arranged.steps,
        "pictures": count,
        "seen": "once" if seen == "1" else f"{seen} times",
    }
    if passes < _FEW_PASSES and views < _FEW_VIEWS:
        return _FEW.of_dataset(better=round(2 * _FEW_PASSES * per_pass), **words)
    if passes > MANY_PASSES:
        return _MANY.of_dataset(better=round(MANY_PASSES / 2 * per_pass), **words)
    return []
