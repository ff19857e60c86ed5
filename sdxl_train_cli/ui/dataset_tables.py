"""A dataset on the terminal: folders, buckets, sizes, tags, caption lengths, and the resulting run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sdxl_train_cli import formatting
from sdxl_train_cli.dataset import overview
from sdxl_train_cli.dataset.bucketing import Bucket, BucketPlan
from sdxl_train_cli.dataset.checking import CheckedDataset
from sdxl_train_cli.dataset.file_facts import Finding, Severity, shown
from sdxl_train_cli.dataset.folders import Subset
from sdxl_train_cli.dataset.overview import Overview
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.sdscripts import buckets
from sdxl_train_cli.ui import console

_MOST_BUCKETS, _MOST_TAGS, _MOST_SIZES = 40, 15, 8
_BAR = 18
"""Characters of the longest bar, so that a row of buckets fits into 80 columns."""
_NOTICED = 1.05
"""Enlargement below this factor is invisible."""


def show(checked: CheckedDataset, arranged: BucketPlan, recipe: Recipe) -> None:
    """Print the tables. The summary of the run comes last, where people look first."""
    counted = overview.summarize(checked.survey)
    _show_folders(counted.folders, recipe)
    _show_buckets(arranged)
    _show_counts(counted)
    console.out("")
    console.table((recipe.kind.label, recipe.name), _summary(checked, arranged, counted))
    if checked.findings:
        console.note("`sdxl-train dataset check` names the files and the remedies")


def show_page(page: Path) -> None:
    """Print the page's path and, on a terminal, its size."""
    console.note(f"{formatting.size(page.stat().st_size)}; it is self-contained: open it in a browser")
    console.out(str(page))


def _show_folders(folders: Sequence[Subset], recipe: Recipe) -> None:
    has_datasets = len({folder.part for folder in folders}) > 1
    console.table(
        ("pictures", "captions", "repeats", *(["trained at"] if has_datasets else []), "folder"),
        [
            (str(folder.pictures), str(folder.captions), str(folder.num_repeats),
             *([_trained_at(folder, recipe)] if has_datasets else []),
             shown(folder.image_dir) + ("  (regularisation)" if folder.is_reg else ""))
            for folder in folders
        ],
    )  # fmt: skip


def _trained_at(folder: Subset, recipe: Recipe) -> str:
    size = buckets.sides(folder.part.applied(recipe))
    if folder.part.holds_all_back:
        return "validation"
    return "-" if size is None else f"{size[0]}x{size[1]}"


def _show_buckets(arranged: BucketPlan) -> None:
    found = arranged.buckets
    if not found:
        return
    of_size = ("of",) if len(arranged.batch_sizes) > 1 else ()
    fullest = sorted(found, key=lambda bucket: -bucket.count)[:_MOST_BUCKETS]
    most = fullest[0].count
    console.out("")
    console.table(
        ("bucket", "pictures", "repeated", "batches", *of_size, "cut up to", "enlarged", ""),
        [_bucket_row(bucket, most, has_own_size=bool(of_size)) for bucket in found if bucket in fullest],
    )
    _tell_rest(len(found) - len(fullest), "bucket", "fewer pictures")


def _bucket_row(bucket: Bucket, most: int, *, has_own_size: bool) -> tuple[str, ...]:
    """A bucket's row. Crop and enlargement are the maximum of its pictures."""
    enlarged = max(placed.enlarged for placed in bucket.placed)
    return (
        f"{bucket.width}x{bucket.height}",
        str(len(bucket.placed)),
        str(bucket.count),
        str(bucket.batches),
        *([str(bucket.batch_size)] if has_own_size else []),
        f"{max(placed.lost for placed in bucket.placed):.0%}",
        f"{enlarged:.1f}x" if enlarged >= _NOTICED else "-",
        console.bar(bucket.count, most, _BAR),
    )


def _show_counts(counted: Overview) -> None:
    sizes = [(f"{width}x{height}", count) for width, height, count in counted.sizes]
    tags = [(shown(tag), count) for tag, count in counted.tags]
    lengths = [(bar.label, bar.count) for bar in counted.lengths]
    about = "about this many " if counted.is_estimate else ""
    for headings, rows, limit, noun in (
        (("file size, pixels", "pictures", ""), sizes, _MOST_SIZES, "size"),
        (("tag", "pictures", ""), tags, _MOST_TAGS, "tag"),
        ((f"caption, {about}tokens", "captions", ""), lengths, len(lengths), ""),
    ):
        if rows:
            console.out("")
            most = max(1, *(count for _, count in rows))
            table = [(name, str(count), console.bar(count, most, _BAR)) for name, count in rows[:limit]]
            console.table(headings, table)
            _tell_rest(len(rows) - len(table), noun, "as many pictures or fewer")


def _tell_rest(count: int, noun: str, having: str) -> None:
    if count > 0:
        console.out(f"and {count} more {noun if count == 1 else noun + 's'} with {having}: --json has all")


def _summary(checked: CheckedDataset, arranged: BucketPlan, counted: Overview) -> list[tuple[str, str]]:
    whole = len(checked.survey.distinct)
    regularisation = sum(each.subset.is_reg for each in checked.survey.distinct)
    beside = f" and {regularisation} for regularisation" if regularisation else ""
    rows = [
        ("pictures", f"{whole - regularisation}{beside}"),
        *_left_out(arranged, counted),
        ("an epoch", _epoch(arranged)),
    ]
    if arranged.batches:
        rows.append(("the run", f"{formatting.counted(arranged.steps, 'step')}, {arranged.epochs:.4g} epochs"))
    if not arranged.is_exact:
        rows.append(("", "validation_split draws other pictures in each run: set validation_seed for exact figures"))
    for severity in Severity:
        kinds = ", ".join(_kind(each) for each in checked.findings if each.severity is severity)
        rows += [(f"{severity.value}s", kinds)] if kinds else []
    return rows


def _kind(finding: Finding) -> str:
    return f"{finding.kind} ({len(finding.files)})" if len(finding.files) > 1 else finding.kind


def _epoch(arranged: BucketPlan) -> str:
    pictures, batches = formatting.counted(arranged.count, "picture"), formatting.counted(arranged.batches, "batch")
    words = f"{pictures} in {batches} of {arranged.batch_words}"
    if arranged.accumulation > 1:
        words += f", {arranged.accumulation} to a step"
    return f"{words}: {formatting.counted(arranged.steps_per_epoch, 'step')}"


def _left_out(arranged: BucketPlan, counted: Overview) -> list[tuple[str, str]]:
    left = (
        (counted.unread, "can't be decoded: left out of the buckets"),
        (len(arranged.unplaced), "too narrow for a bucket: sd-scripts fails on them"),
        (len(arranged.unused), "surplus for regularisation: not used"),
        (len(arranged.held_back), "held back for validation"),
        (len(arranged.skipped), "no larger than skip_image_resolution: left out"),
    )
    return [("", f"{count} {why}") for count, why in left if count]
