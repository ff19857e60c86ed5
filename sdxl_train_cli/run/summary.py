"""What a run that is ready will do, in five lines."""

from __future__ import annotations

from sdxl_train_cli import formatting, language
from sdxl_train_cli.dataset import bucketing
from sdxl_train_cli.dataset.bucketing import BucketPlan
from sdxl_train_cli.memory import cuda_context, measurements
from sdxl_train_cli.memory.measurements import MeasuredRuns
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.sdscripts import optimizer, shipped

_MOST_SHAPES = 3
_LABEL, _RUSSIAN_LABEL = 10, 14


def lines(prepared: Prepared, unchecked: str = "not checked") -> list[str]:
    """Pictures, length, what is trained, memory, samples if any, result. `unchecked` stands for unchecked memory."""
    arranged = bucketing.arrange(prepared.recipe, prepared.readable)
    return [
        row(language.said("plan", "pictures", "pictures:"), _pictures(arranged)),
        row(language.said("plan", "length", "length:"), _length(arranged)),
        row(language.said("plan", "trains", "trains:"), _trained(prepared.recipe)),
        row(language.said("plan", "memory", "memory:"), prepared.memory or unchecked),
        *_samples(prepared),
        row(language.said("plan", "result", "result:"), str(prepared.run.result)),
    ]


def row(label: str, words: str) -> str:
    """A line of the plan, in columns."""
    width = _RUSSIAN_LABEL if language.is_russian() else _LABEL
    return f"{label:<{width}}{words}"


def time_words(prepared: Prepared) -> str | None:
    """How long it takes, by what runs with these settings took on this GPU. None if none was measured."""
    found = seconds(prepared)
    if found is None:
        return None
    clock = formatting.clock(found)
    return language.said("plan", "time-known", "about {clock}, as measured on this GPU", clock=clock)


def seconds(prepared: Prepared) -> float | None:
    """What the training takes, by what runs with these settings took on this GPU. None if none was measured."""
    if prepared.device is None or prepared.recipe.processes > 1:
        return None  # what several take is not measured
    installed, device = prepared.environment, prepared.device
    context = cuda_context.of(device, installed)
    records = measurements.load(prepared.home)[0]
    fast = prepared.choices.fast
    measured = MeasuredRuns(records, device, installed.lock.commit, prepared.readable, context, fast)
    pace = measured.pictures_per_second(prepared.heaviest, fast=fast)
    arranged = bucketing.arrange(prepared.recipe, prepared.readable)
    seen = (
        arranged.steps
        * arranged.accumulation
        * arranged.processes
        * int(prepared.heaviest.number("train_batch_size") or 1)
    )
    return None if pace is None else seen / pace


def _samples(prepared: Prepared) -> list[str]:
    """The prompts file that a start would write, line by line."""
    written = () if prepared.samples is None else prepared.samples.lines
    label = language.said("plan", "sample", "sample:")
    return [row(label if number == 0 else "", line) for number, line in enumerate(written)]


def _pictures(arranged: BucketPlan) -> str:
    count = len({one.picture.path for bucket in arranged.buckets for one in bucket.placed})
    largest = sorted(arranged.buckets, key=lambda bucket: -bucket.count)
    shapes = [f"{bucket.width}x{bucket.height}" for bucket in largest[:_MOST_SHAPES]]
    more = ["..."] if len(largest) > _MOST_SHAPES else []
    parts = len({bucket.part for bucket in largest})
    datasets = language.said("plan", "datasets", "{parts} datasets, ", parts=parts) if parts > 1 else ""
    buckets = formatting.counted(len(largest), "bucket")
    facts = {"buckets": buckets, "sizes": len(largest), "shapes": ", ".join([*shapes, *more])}
    return language.said("plan", "in-buckets", "{count} in {datasets}{buckets}: {shapes}", count=count,
                         datasets=datasets, **facts)  # fmt: skip


def _length(arranged: BucketPlan) -> str:
    steps, in_epoch = (formatting.counted(count, "step") for count in (arranged.steps, arranged.steps_per_epoch))
    batch = f"batch {arranged.batch_words}"
    parts = batch if arranged.accumulation == 1 else f"{batch} x {arranged.accumulation}"
    if arranged.processes > 1:
        parts += language.said("plan", "on-each", " on each of {count} GPUs", count=arranged.processes)
    english = "{steps}, which is {epochs:.4g} epochs of {in_epoch} ({batch})"
    return language.said("plan", "steps", english, steps=steps, epochs=arranged.epochs, in_epoch=in_epoch, batch=parts,
                         count=arranged.steps, each=arranged.steps_per_epoch)  # fmt: skip


def _trained(recipe: Recipe) -> str:
    rate = recipe.number("learning_rate")
    used = shipped.default_number("learning_rate") if rate is None else rate
    name = recipe.get("optimizer_type") or optimizer.DEFAULT
    place = "in" if recipe.kind is Kind.EMBEDDING else "of"
    english = "{network} {place} {parts}; {optimizer}, learning rate {rate:g}"
    facts = {"network": _network(recipe), "place": place, "parts": _parts(recipe)}
    return language.said("plan", "trained", english, **facts, optimizer=name, rate=used)


def _network(recipe: Recipe) -> str:
    dim = recipe.number("network_dim")
    if recipe.kind is Kind.DREAMBOOTH:
        return language.said("plan", "all-weights", "all weights")
    if recipe.kind is Kind.EMBEDDING:
        vectors = formatting.counted(int(recipe.number("num_vectors_per_token") or 1), "vector")
        return f"{vectors} for the word '{recipe.get('token_string')}'"
    if dim is None:
        return recipe.kind.label
    return language.said("plan", "network", "a {kind} with dim {dim:g}", kind=recipe.kind.label, dim=dim)


def _parts(recipe: Recipe) -> str:
    if recipe.kind is Kind.DREAMBOOTH:
        return "the U-Net and the text encoders" if recipe.is_on("train_text_encoder") else "the U-Net"
    if recipe.kind is Kind.EMBEDDING:
        return "both text encoders"
    if recipe.is_on("network_train_unet_only"):
        return language.said("plan", "u-net", "the U-Net")
    if recipe.is_on("network_train_text_encoder_only"):
        return language.said("plan", "text-encoders", "the text encoders")
    return language.said("plan", "both", "the U-Net and the text encoders")
