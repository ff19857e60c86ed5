"""A dataset as JSON: everything that `sdxl-train dataset show` knows about it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from sdxl_train_cli.dataset import caption, overview
from sdxl_train_cli.dataset.bucketing import Bucket, BucketedPicture, BucketPlan
from sdxl_train_cli.dataset.checking import CheckedDataset
from sdxl_train_cli.dataset.file_facts import Finding
from sdxl_train_cli.dataset.overview import Overview
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.ui import console, dataset_page_data

Captions: TypeAlias = "dict[Path, dict[str, str | int | None]]"
"""Each picture's caption as trained, and its token count."""


def show(checked: CheckedDataset, arranged: BucketPlan, recipe: Recipe, page: Path | None) -> None:
    """Print it. Undecodable names are escaped, so that scripts can restore them."""
    survey = checked.survey
    lengths = caption.token_counts(survey.seen)
    captions: Captions = {
        seen.facts.path: {"caption": overview.trained_caption(seen), "tokens": lengths.get(seen.facts.path)}
        for seen in survey.seen
    }  # fmt: skip
    facts = {
        "kind": recipe.kind.value,
        "preset": recipe.name,
        "pictures": sum(not seen.subset.is_reg for seen in survey.distinct),
        "regularisation": sum(seen.subset.is_reg for seen in survey.distinct),
        **_counted(overview.summarize(survey)),
        **_arranged(arranged, captions),
        "unreadable": [
            {"path": str(seen.facts.path), "error": seen.facts.error}
            for seen in survey.distinct if seen.facts.error is not None
        ],
        "findings": [finding(each) for each in checked.findings],
        "duplicates": [
            {"kind": each.kind, "pictures": [str(file) for file in each.files]}
            for each in dataset_page_data.find_lookalikes(survey)
        ],
        "page": None if page is None else str(page),
    }  # fmt: skip
    console.data(facts)


def _counted(counted: Overview) -> dict[str, object]:
    return {
        "folders": [
            {"path": str(folder.image_dir), "repeats": folder.num_repeats, "pictures": folder.pictures,
             "captions": folder.captions, "is_reg": folder.is_reg, "class_tokens": folder.class_tokens,
             "caption_prefix": folder.caption_prefix}
            for folder in counted.folders
        ],
        "sizes": [{"width": width, "height": height, "pictures": count} for width, height, count in counted.sizes],
        "tags": [{"tag": tag, "pictures": count} for tag, count in counted.tags],
        "caption_lengths": {
            "is_estimate": counted.is_estimate,
            "bars": [{"least": bar.least, "most": bar.most, "captions": bar.count} for bar in counted.lengths],
        },
    }  # fmt: skip


def _arranged(arranged: BucketPlan, captions: Captions) -> dict[str, object]:
    return {
        "batch_size": arranged.batch_sizes[0] if len(arranged.batch_sizes) == 1 else None,
        "batch_sizes": list(arranged.batch_sizes),
        "gradient_accumulation_steps": arranged.accumulation,
        "pictures_per_epoch": arranged.count,
        "batches_per_epoch": arranged.batches,
        "steps_per_epoch": arranged.steps_per_epoch,
        "steps": arranged.steps,
        "epochs": round(arranged.epochs, 4),
        "is_exact": arranged.is_exact,
        "buckets": [_bucket(bucket, captions) for bucket in arranged.buckets],
        "unplaced": [str(picture.path) for picture in arranged.unplaced],
        "unused": [str(picture.path) for picture in arranged.unused],
        "held_back": [str(picture.path) for picture in arranged.held_back],
        "skipped": [str(picture.path) for picture in arranged.skipped],
    }


def _bucket(bucket: Bucket, captions: Captions) -> dict[str, object]:
    return {
        "width": bucket.width,
        "height": bucket.height,
        "count": bucket.count,
        "batch_size": bucket.batch_size,
        "batches": bucket.batches,
        "pictures": [{**_placed(one), **captions[one.picture.path]} for one in bucket.placed],
    }


def _placed(one: BucketedPicture) -> dict[str, object]:
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


def finding(found: Finding) -> dict[str, object]:
    """One kind of problem with its files."""
    details = found.details or ("",) * len(found.files)
    return {
        "kind": found.kind,
        "severity": found.severity.value,
        "message": found.message(),
        "hint": found.remedy,
        "files": [
            {"path": str(file), "detail": detail or None}
            for file, detail in zip(found.files, details, strict=True)
        ],
    }  # fmt: skip
