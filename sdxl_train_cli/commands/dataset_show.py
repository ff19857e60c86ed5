"""`sdxl-train dataset show`: what SDXL will really see of a folder of pictures, on the terminal or as a web page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdxl_train_cli.commands.place import HomeOption
from sdxl_train_cli.commands.train import BatchSize, Preset, Reg, Repeats, Resolution, Set, Trigger

if TYPE_CHECKING:
    from sdxl_train_cli.dataset.bucketing import Arrangement, Bucket, Placed
    from sdxl_train_cli.dataset.facts import Survey
    from sdxl_train_cli.dataset.overview import Overview
    from sdxl_train_cli.recipe import Recipe
    from sdxl_train_cli.recipes.presets import Override

Directory = Annotated[
    Path, typer.Argument(metavar="DIR", help="Pictures with .txt captions, or a parent of N_name folders")
]
KindOption = Annotated[str | None, typer.Option("--kind", "-k", help="What is trained [default: lora]")]
Gpus = Annotated[int, typer.Option("--gpus", min=1, help="GPUs that share the batches")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON")]
Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write a web page with every picture; it needs no network")
]

_MOST_TAGS, _MOST_SIZES = 15, 8


def show(
    directory: Directory, preset: Preset = None, kind: KindOption = None, trigger: Trigger = None, reg: Reg = None,
    repeats: Repeats = None, resolution: Resolution = None, batch_size: BatchSize = None, set_: Set = None,
    gpus: Gpus = 1, as_json: Json = False, html: Html = None, home: HomeOption = None,
) -> None:  # fmt: skip
    """What SDXL will really see. Buckets, crops, steps, tags, lengths of captions."""
    from sdxl_train_cli import console
    from sdxl_train_cli.commands import dataset_recipe
    from sdxl_train_cli.dataset import bucketing, folders, overview, survey

    recipe = dataset_recipe.load(kind, preset, _overrides(resolution, batch_size, set_ or []), home)
    pictures = folders.scan(directory, regularisation=Path(reg) if reg else None, repeats=repeats, trigger=trigger)
    found = survey.survey(pictures)
    arranged = bucketing.arrange(recipe, overview.pictures(found), gpus)
    if html is not None:
        _write_page(html, found, arranged, recipe)
    if as_json:
        _print_json(found, arranged, recipe)
    elif html is None:
        _print_tables(overview.of(found), arranged)
        console.note(_summary(arranged, recipe))


def _overrides(resolution: int | None, batch_size: int | None, set_: Sequence[str]) -> list[Override]:
    from sdxl_train_cli.recipes import presets
    from sdxl_train_cli.recipes.presets import Override

    sized = [] if resolution is None else presets.sized(resolution)
    batch = [] if batch_size is None else [Override("train_batch_size", batch_size, "--batch-size")]
    return [*sized, *batch, *(presets.parse_override(text) for text in set_)]


def _write_page(target: Path, found: Survey, arranged: Arrangement, recipe: Recipe) -> None:
    from sdxl_train_cli import console, layout
    from sdxl_train_cli.dataset import album, page
    from sdxl_train_cli.webpage import document

    target = layout.expanded(target)
    if target.is_dir():
        target /= "dataset.html"
    sources = list(page.sources(album.files(found)))
    document.write(page.html(album.gather(found, arranged, recipe, [], []), sources), target, "--html")
    console.out(str(target))


def _print_tables(counted: Overview, arranged: Arrangement) -> None:
    from sdxl_train_cli import console

    console.table(
        ("folder", "for", "pictures", "captions", "repeats"),
        [
            (str(folder.image_dir), "regularisation" if folder.is_reg else "training", str(folder.pictures),
             str(folder.captions), str(folder.num_repeats))
            for folder in counted.folders
        ],
    )  # fmt: skip
    console.out("")
    most = max((bucket.count for bucket in arranged.buckets), default=1)
    console.table(
        ("bucket", "pictures", "with repeats", "batches", "most cut", "most enlarged", ""),
        [_bucket_row(bucket, arranged.batch_size, most) for bucket in arranged.buckets],
    )
    for headings, rows in (
        (("size of the file", "pictures", ""), [(f"{w}x{h}", count) for w, h, count in counted.sizes[:_MOST_SIZES]]),
        (("tag", "pictures", ""), counted.tags[:_MOST_TAGS]),
        ((f"length in {counted.unit}", "captions", ""), [(bar.label, bar.count) for bar in counted.lengths]),
    ):
        if rows:
            console.out("")
            most = max(1, *(count for _, count in rows))
            console.table(headings, [(name, str(count), console.bar(count, most)) for name, count in rows])


def _bucket_row(bucket: Bucket, batch_size: int, most: int) -> tuple[str, ...]:
    from sdxl_train_cli import console

    batches = bucket.batches(batch_size)
    rest = bucket.count - (batches - 1) * batch_size
    cut = max(placed.lost for placed in bucket.placed)
    enlarged = max(placed.enlarged for placed in bucket.placed)
    return (
        f"{bucket.width}x{bucket.height}",
        str(len(bucket.placed)),
        str(bucket.count),
        f"{batches}, last of {rest}" if rest < batch_size else str(batches),
        f"{cut:.0%}",
        f"{enlarged:.1f}x" if enlarged >= _NOTICED else "-",
        console.bar(bucket.count, most),
    )


_NOTICED = 1.05
"""Below, nobody sees that a picture was enlarged."""


def _summary(arranged: Arrangement, recipe: Recipe) -> str:
    parts = [f"{arranged.count} pictures an epoch in {arranged.batches} batches of {arranged.batch_size}"]
    if arranged.gpus > 1:
        parts.append(f"{arranged.gpus} GPUs")
    if arranged.accumulation > 1:
        parts.append(f"{arranged.accumulation} batches to a step")
    lines = [
        f"{recipe.kind.label}, {recipe.name}: {', '.join(parts)}",
        f"{arranged.steps_per_epoch} steps an epoch, {arranged.steps} in the run: {arranged.epochs:.4g} epochs",
    ]
    if not arranged.is_exact:
        lines.append("validation_split draws anew in each run, so that may differ a little: set validation_seed too")
    left = (
        (arranged.unplaced, "too narrow for a bucket: sd-scripts fails on them"),
        (arranged.unused, "for regularisation, beyond what matches: not used"),
        (arranged.held_back, "held back for validation"),
    )
    lines += [f"{len(pictures)} pictures {why}" for pictures, why in left if pictures]
    return "\n".join(lines)


def _print_json(found: Survey, arranged: Arrangement, recipe: Recipe) -> None:
    import json

    from sdxl_train_cli import console
    from sdxl_train_cli.dataset import overview

    counted = overview.of(found)
    content = {
        "kind": recipe.kind.value,
        "preset": recipe.name,
        "pictures": sum(not seen.subset.is_reg for seen in found.seen),
        "regularisation": sum(seen.subset.is_reg for seen in found.seen),
        "folders": [
            {"path": str(folder.image_dir), "repeats": folder.num_repeats, "pictures": folder.pictures,
             "captions": folder.captions, "is_reg": folder.is_reg, "class_tokens": folder.class_tokens}
            for folder in counted.folders
        ],
        "batch_size": arranged.batch_size,
        "gradient_accumulation_steps": arranged.accumulation,
        "gpus": arranged.gpus,
        "pictures_per_epoch": arranged.count,
        "batches_per_epoch": arranged.batches,
        "steps_per_epoch": arranged.steps_per_epoch,
        "steps": arranged.steps,
        "epochs": round(arranged.epochs, 4),
        "is_exact": arranged.is_exact,
        "buckets": [
            {"width": bucket.width, "height": bucket.height, "count": bucket.count,
             "batches": bucket.batches(arranged.batch_size), "pictures": [_placed(one) for one in bucket.placed]}
            for bucket in arranged.buckets
        ],
        "unplaced": [str(picture.path) for picture in arranged.unplaced],
        "unused": [str(picture.path) for picture in arranged.unused],
        "held_back": [str(picture.path) for picture in arranged.held_back],
        "sizes": [{"width": width, "height": height, "pictures": count} for width, height, count in counted.sizes],
        "tags": [{"tag": tag, "pictures": count} for tag, count in counted.tags],
        "caption_lengths": {
            "unit": counted.unit,
            "bars": [{"least": bar.least, "most": bar.most, "captions": bar.count} for bar in counted.lengths],
        },
    }  # fmt: skip
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    console.out(text.encode("utf-8", "backslashreplace").decode())  # a file name that is no UTF-8


def _placed(one: Placed) -> dict[str, object]:
    return {
        "path": str(one.picture.path),
        "width": one.picture.width,
        "height": one.picture.height,
        "repeats": one.repeats,
        "is_reg": one.picture.is_reg,
        "resized": list(one.resized),
        "crop": list(one.crop),
        "enlarged": round(one.enlarged, 4),
        "lost": round(one.lost, 4),
    }
