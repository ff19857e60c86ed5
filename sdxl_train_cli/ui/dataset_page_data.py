"""Collect the contents of a dataset's web page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from sdxl_train_cli import __version__
from sdxl_train_cli.dataset import caption, duplicates, overview, tokens
from sdxl_train_cli.dataset.bucketing import BucketedPicture, BucketPlan
from sdxl_train_cli.dataset.checking import CheckedDataset
from sdxl_train_cli.dataset.file_facts import Finding, Survey, SurveyedPicture, shown
from sdxl_train_cli.dataset.folders import PictureFile
from sdxl_train_cli.dataset.overview import Overview
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.ui.dataset_page import BucketView, DatasetPage, FindingGroup, LookalikeGroup, PictureCard

MOST_TAGS, MOST_GROUPS = 2000, 200
_DIGITS = 4


@dataclass(frozen=True)
class Lookalikes:
    """Similar pictures."""

    kind: str
    """The finding's kind: `duplicate`, `near-duplicate`."""
    files: tuple[Path, ...]


def find_lookalikes(survey: Survey) -> list[Lookalikes]:
    """Groups of identical pictures, then groups of similar ones."""
    facts = [seen.facts for seen in survey.distinct]
    groups = (("duplicate", duplicates.exact(facts)), ("near-duplicate", duplicates.near(facts)))
    return [Lookalikes(kind, tuple(each.path for each in group)) for kind, found in groups for group in found]


def gather(checked: CheckedDataset, arranged: BucketPlan, recipe: Recipe) -> DatasetPage:
    """Assemble the page. Its cards are in the order of `survey.seen`."""
    survey = checked.survey
    counted = overview.summarize(survey)
    places = {seen.facts.path: at for at, seen in enumerate(survey.seen)}
    groups = [LookalikeGroup(each.kind, tuple(places[file] for file in each.files)) for each in find_lookalikes(survey)]
    read = int(recipe.number("max_token_length") or tokens.USUAL_LENGTH)
    cards = tuple(_cards(survey, arranged, checked.findings))
    return DatasetPage(
        name=_name(survey),
        kind=f"{recipe.kind.label} · {recipe.name}",
        folder=" · ".join(str(subset.place) for subset in survey.pictures.subsets),
        made=f"{datetime.now(timezone.utc).astimezone():%Y-%m-%d %H:%M} by sdxl-train {__version__}",
        tiles=_tiles(survey, arranged, counted),
        notes=tuple(_notes(arranged, recipe)),
        folders=tuple(subset.image_dir.name for subset in survey.pictures.subsets),
        findings=tuple(_found(at, finding, survey, cards) for at, finding in enumerate(checked.findings)),
        buckets=tuple(
            BucketView(bucket.width, bucket.height, bucket.count, len(bucket.placed), bucket.batches,
                       bucket.batch_size, bucket.count - (bucket.batches - 1) * bucket.batch_size)
            for bucket in arranged.buckets
        ),
        sizes=counted.sizes,
        tags=counted.tags[:MOST_TAGS],
        unit="tokens, about" if counted.is_estimate else "tokens",
        read=read,
        lengths=tuple((bar.label, bar.count, bar.least > read) for bar in counted.lengths),
        alike=tuple(groups[:MOST_GROUPS]),
        alike_more=len(groups[MOST_GROUPS:]),
        cards=cards,
    )  # fmt: skip


def files(survey: Survey) -> list[Path | None]:
    """Each card's picture. None if it can't be decoded."""
    return [None if seen.facts.error is not None else seen.facts.path for seen in survey.seen]


def _name(survey: Survey) -> str:
    folders = [subset.image_dir for subset in survey.pictures.subsets if not subset.is_reg]
    return folders[0].parent.name if len(folders) > 1 else folders[0].name if folders else ""


def _tiles(survey: Survey, arranged: BucketPlan, counted: Overview) -> tuple[tuple[str, str], ...]:
    regularisation = sum(seen.subset.is_reg for seen in survey.distinct)
    captions = sum(seen.caption is not None for seen in survey.distinct)
    tiles = (
        ("pictures", f"{len(survey.distinct) - regularisation:,}"),
        ("for regularisation", f"{regularisation:,}" if regularisation else ""),
        ("unreadable", f"{counted.unread:,}" if counted.unread else ""),
        ("captions", f"{captions:,}"),
        ("buckets", f"{len(arranged.buckets):,}"),
        ("pictures in an epoch", f"{arranged.count:,}"),
        ("batches of " + arranged.batch_words, f"{arranged.batches:,}"),
        ("steps in an epoch", f"{arranged.steps_per_epoch:,}"),
        ("steps in the run", f"{arranged.steps:,}"),
        ("epochs", f"{arranged.epochs:.4g}"),
    )
    return tuple((name, text) for name, text in tiles if text)


def _notes(arranged: BucketPlan, recipe: Recipe) -> list[str]:
    notes = []
    if not arranged.is_exact:
        notes.append(
            "Which pictures are held back for validation is drawn by chance in each run, so buckets and steps may"
            " differ a little: with validation_seed they are always the same."
        )
    if recipe.is_on("random_crop"):
        notes.append("random_crop is on: the frame has this size, but a different position each time.")
    return notes


def _found(at: int, finding: Finding, survey: Survey, cards: Sequence[PictureCard]) -> FindingGroup:
    details = finding.details or ("",) * len(finding.files)
    on_cards = _on_cards(survey)
    others = [
        f"{shown(file)}: {detail}" if detail else shown(file)
        for file, detail in zip(finding.files, details, strict=True)
        if file not in on_cards and not finding.names_its_file
    ]
    return FindingGroup(
        kind=finding.kind,
        severity=finding.severity.value,
        message=finding.message(),
        hint=finding.remedy or "",
        cards=sum(any(at == each for each, _ in card.findings) for card in cards),
        others=tuple(others),
    )


def _on_cards(survey: Survey) -> set[Path]:
    """Every file represented by a card."""
    return {file for seen in survey.seen for file in _files(seen)}


def _files(seen: SurveyedPicture) -> list[Path]:
    return [seen.facts.path] if seen.caption is None else [seen.facts.path, seen.caption.path]


@dataclass(frozen=True)
class _KnownPictures:
    """Facts about pictures by path."""

    places: Mapping[PictureFile, tuple[int, BucketedPicture]]
    """The picture's bucket and crop."""
    reasons: Mapping[PictureFile, str]
    """Why the picture is in no bucket."""
    findings: Mapping[Path, Sequence[tuple[int, str]]]
    """Findings by file, picture or caption."""
    lengths: Mapping[Path, int]


def _cards(survey: Survey, arranged: BucketPlan, findings: Sequence[Finding]) -> list[PictureCard]:
    known = _KnownPictures(
        {one.picture: (at, one) for at, bucket in enumerate(arranged.buckets) for one in bucket.placed},
        _reasons(arranged),
        _by_file(findings),
        caption.token_counts(survey.seen),
    )
    places = {subset: at for at, subset in enumerate(survey.pictures.subsets)}
    return [_card(seen, places[seen.subset], known) for seen in survey.seen]


def _by_file(findings: Sequence[Finding]) -> Mapping[Path, list[tuple[int, str]]]:
    """Finding indices by file, with details."""
    of_file: dict[Path, list[tuple[int, str]]] = defaultdict(list)
    for at, finding in enumerate(findings):
        details = finding.details or ("",) * len(finding.files)
        for file, detail in zip(finding.files, details, strict=True):
            of_file[file].append((at, detail))
    return of_file


def _findings_of(
    seen: SurveyedPicture, of_file: Mapping[Path, Sequence[tuple[int, str]]]
) -> tuple[tuple[int, str], ...]:
    """Findings of the picture and of its caption, without duplicates."""
    own = {at: detail for file in _files(seen) for at, detail in of_file.get(file, ())}
    return tuple(sorted(own.items()))


def _reasons(arranged: BucketPlan) -> dict[PictureFile, str]:
    """Why each picture outside of a bucket is in none."""
    why = (
        (arranged.unplaced, "too narrow for a bucket"),
        (arranged.unused, "surplus regularisation picture"),
        (arranged.held_back, "held back for validation"),
        (arranged.skipped, "no larger than skip_image_resolution"),
    )
    return {picture: reason for pictures, reason in why for picture in pictures}


def _card(seen: SurveyedPicture, folder: int, known: _KnownPictures) -> PictureCard:
    path, picture = seen.facts.path, seen.picture
    at, one = known.places.get(picture, (None, None))
    return PictureCard(
        name=path.name,
        folder=folder,
        bucket=at,
        note="" if one else seen.facts.error or known.reasons.get(picture, "in no bucket"),
        size=(seen.facts.width, seen.facts.height),
        resized=one.resized if one else None,
        crop=one.crop if one else None,
        enlarged=round(one.enlarged, _DIGITS) if one else 1.0,
        lost=round(one.lost, _DIGITS) if one else 0.0,
        repeats=one.repeats if one else 0,
        is_reg=seen.subset.is_reg,
        caption=overview.trained_caption(seen),
        caption_note=_caption_note(seen),
        tokens=known.lengths.get(path),
        findings=_findings_of(seen, known.findings),
    )


def _caption_note(seen: SurveyedPicture) -> str:
    if seen.caption is not None:
        return seen.caption.error or ""
    return "no caption file: the words of the folder or the trigger" if seen.subset.class_tokens else "no file"
