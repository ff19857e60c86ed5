"""What a run that is ready will do, in five lines."""

from __future__ import annotations

from sdxl_train_cli import formatting
from sdxl_train_cli.dataset import bucketing
from sdxl_train_cli.dataset.bucketing import BucketPlan
from sdxl_train_cli.memory import cuda_context, measurements
from sdxl_train_cli.memory.measurements import MeasuredRuns
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.sdscripts import optimizer, shipped

_MOST_SHAPES = 3


def lines(prepared: Prepared, unchecked: str = "not checked") -> list[str]:
    """Pictures, length, what is trained, memory, samples if any, result. `unchecked` stands for unchecked memory."""
    arranged = bucketing.arrange(prepared.recipe, prepared.readable)
    return [
        f"pictures: {_pictures(arranged)}",
        f"length:   {_length(arranged)}",
        f"trains:   {_trained(prepared.recipe)}",
        f"memory:   {prepared.memory or unchecked}",
        *_samples(prepared),
        f"result:   {prepared.run.result}",
    ]


def time_words(prepared: Prepared) -> str | None:
    """How long it takes, by what runs with these settings took on this GPU. None if none was measured."""
    if prepared.device is None:
        return None
    installed, device = prepared.environment, prepared.device
    context = cuda_context.of(device, installed)
    records = measurements.load(prepared.home)[0]
    fast = prepared.choices.fast
    measured = MeasuredRuns(records, device, installed.lock.commit, prepared.readable, context, fast)
    pace = measured.pictures_per_second(prepared.heaviest, fast=fast)
    arranged = bucketing.arrange(prepared.recipe, prepared.readable)
    seen = arranged.steps * arranged.accumulation * int(prepared.heaviest.number("train_batch_size") or 1)
    return None if pace is None else f"about {formatting.clock(seen / pace)}, as measured on this GPU"


def _samples(prepared: Prepared) -> list[str]:
    """The prompts file that a start would write, line by line."""
    written = () if prepared.samples is None else prepared.samples.lines
    return [f"{'sample:   ' if number == 0 else ' ' * 10}{line}" for number, line in enumerate(written)]


def _pictures(arranged: BucketPlan) -> str:
    count = len({one.picture.path for bucket in arranged.buckets for one in bucket.placed})
    largest = sorted(arranged.buckets, key=lambda bucket: -bucket.count)
    shapes = [f"{bucket.width}x{bucket.height}" for bucket in largest[:_MOST_SHAPES]]
    more = ["..."] if len(largest) > _MOST_SHAPES else []
    buckets = formatting.counted(len(largest), "bucket")
    parts = len({bucket.part for bucket in largest})
    datasets = f"{parts} datasets, " if parts > 1 else ""
    return f"{count} in {datasets}{buckets}: {', '.join([*shapes, *more])}"


def _length(arranged: BucketPlan) -> str:
    steps, in_epoch = (formatting.counted(count, "step") for count in (arranged.steps, arranged.steps_per_epoch))
    batch = f"batch {arranged.batch_words}"
    parts = batch if arranged.accumulation == 1 else f"{batch} x {arranged.accumulation}"
    return f"{steps}, which is {arranged.epochs:.4g} epochs of {in_epoch} ({parts})"


def _trained(recipe: Recipe) -> str:
    rate = recipe.number("learning_rate")
    used = shipped.default_number("learning_rate") if rate is None else rate
    name = recipe.get("optimizer_type") or optimizer.DEFAULT
    place = "in" if recipe.kind is Kind.EMBEDDING else "of"
    return f"{_network(recipe)} {place} {_parts(recipe)}; {name}, learning rate {used:g}"


def _network(recipe: Recipe) -> str:
    dim = recipe.number("network_dim")
    if recipe.kind is Kind.DREAMBOOTH:
        return "all weights"
    if recipe.kind is Kind.EMBEDDING:
        vectors = formatting.counted(int(recipe.number("num_vectors_per_token") or 1), "vector")
        return f"{vectors} for the word '{recipe.get('token_string')}'"
    return recipe.kind.label if dim is None else f"a {recipe.kind.label} with dim {dim:g}"


def _parts(recipe: Recipe) -> str:
    if recipe.kind is Kind.DREAMBOOTH:
        return "the U-Net and the text encoders" if recipe.is_on("train_text_encoder") else "the U-Net"
    if recipe.kind is Kind.EMBEDDING:
        return "both text encoders"
    if recipe.is_on("network_train_unet_only"):
        return "the U-Net"
    return "the text encoders" if recipe.is_on("network_train_text_encoder_only") else "the U-Net and the text encoders"
