"""A run's drawn pictures as a part of the verdict's page: sliders over checkpoints and strengths, and the scores."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sdxl_train_cli.inspection import strengths
from sdxl_train_cli.ranking import picture_words
from sdxl_train_cli.ranking.picture_scores import DrawnPicture, DrawnPictures, PictureFindings, SuspectedCopy
from sdxl_train_cli.ranking.verdict import Verdict
from sdxl_train_cli.ui import thumbnails

_PARTS = Path(__file__).with_name("drawn_grid_parts")
_SIDE, _LEAST_BYTES = 448, 9000
_PAGE_BYTES = 16_000_000
"""Limit for all pictures as stored in the page: they shrink where there are many."""
_BASE = "base model"


@dataclass(frozen=True)
class PagePlace:
    """A checkpoint at a strength."""

    checkpoint: int
    """Place in the page's checkpoints; 0 is the base model."""
    strength: int
    """Place in the page's strengths."""
    scores: tuple[str, ...]
    """In the order of the headings."""
    is_best: bool


@dataclass(frozen=True)
class PagePicture:
    """One picture, small."""

    checkpoint: int
    strength: int
    prompt: int
    seed: int
    file: str
    """Where the full-size one is, from the page's folder."""
    source: str
    suspected: int | None
    """Place in the page's copies. None where nothing is suspected."""


@dataclass(frozen=True)
class PageCopy:
    """The training picture that a drawing is too near to."""

    training: str
    source: str
    words: str


@dataclass(frozen=True)
class DrawnGrid:
    """Contents of the part."""

    checkpoints: tuple[str, ...]
    """The base model first."""
    strengths: tuple[str, ...]
    prompts: tuple[str, ...]
    headings: tuple[str, ...]
    places: tuple[PagePlace, ...]
    pictures: tuple[PagePicture, ...]
    copies: tuple[PageCopy, ...]
    notes: tuple[str, ...]


def style() -> str:
    """The part's style, behind base.css."""
    return (_PARTS / "grid.css").read_text(encoding="utf-8")


def script() -> str:
    """The function that draws the part, behind base.js."""
    return (_PARTS / "grid.js").read_text(encoding="utf-8")


def content(found: Verdict, drawn: DrawnPictures, pictures: PictureFindings, target: Path) -> dict[str, object]:
    """What the part shows. Links to full-size pictures are seen from the target's folder."""
    placed = _Placed(found, drawn)
    return asdict(
        DrawnGrid(
            checkpoints=(_BASE, *(placed.names[path] for path in placed.files)),
            strengths=tuple(f"{one:g}" for one in placed.strengths),
            prompts=drawn.prompts,
            headings=picture_words.HEADINGS[2:],
            places=tuple(placed.places(pictures)),
            pictures=tuple(placed.pictures(pictures, target)),
            copies=tuple(_copies(pictures)),
            notes=(*picture_words.doubts(pictures), picture_words.WEIGHTS),
        )
    )


class _Placed:
    """The pictures by their places on the page."""

    def __init__(self, found: Verdict, drawn: DrawnPictures) -> None:
        self.found = found
        self.names = {one.candidate.path: one.candidate.moment for one in found.checkpoints}
        seen = {one.checkpoint for one in drawn.pictures}
        self.files = [path for path in self.names if path in seen]
        self.shown = [one for one in drawn.pictures if one.checkpoint is None or one.checkpoint in self.files]
        self.strengths = sorted({one.strength for one in self.shown if one.checkpoint is not None})

    def at(self, checkpoint: Path | None, strength: float) -> tuple[int, int]:
        """Where a checkpoint at a strength stands."""
        return (0, 0) if checkpoint is None else (1 + self.files.index(checkpoint), self.strengths.index(strength))

    def places(self, pictures: PictureFindings) -> Iterator[PagePlace]:
        """Every checkpoint and strength with its scores."""
        wanted = strengths.FULL if self.found.kept_strength is None else self.found.kept_strength.figure
        nearest = min(self.strengths, key=lambda strength: abs(strength - wanted), default=wanted)
        if pictures.base is not None:
            yield PagePlace(0, 0, picture_words.figures(pictures.base), is_best=False)
        for (path, strength), score in pictures.scores.items():
            if path in self.files:
                is_best = (path, strength) == (self.found.kept.path, nearest)
                yield PagePlace(*self.at(path, strength), picture_words.figures(score), is_best)

    def pictures(self, pictures: PictureFindings, target: Path) -> Iterator[PagePicture]:
        """Those that can be read."""
        suspected = {one.picture.path: number for number, one in enumerate(pictures.copies)}
        for one, source in zip(self.shown, _sources([one.path for one in self.shown]), strict=True):
            if source is not None:
                yield self._picture(one, source, target, suspected.get(one.path))

    def _picture(self, one: DrawnPicture, source: str, target: Path, suspected: int | None) -> PagePicture:
        place = self.at(one.checkpoint, one.strength)
        return PagePicture(*place, one.prompt, one.seed, _from(target, one.path), source, suspected)


def _copies(pictures: PictureFindings) -> Iterator[PageCopy]:
    sources = _sources([one.training for one in pictures.copies])
    for one, source in zip(pictures.copies, sources, strict=True):
        yield PageCopy(one.training.name, source or "", _copy_words(one))


def _sources(paths: Sequence[Path]) -> list[str | None]:
    most = max(_LEAST_BYTES, _PAGE_BYTES // max(1, len(paths)))
    return list(thumbnails.data_uris(paths, _SIDE, thumbnails.QUALITY, most))


def _from(target: Path, path: Path) -> str:
    try:
        return Path(os.path.relpath(path, target.parent)).as_posix()
    except ValueError:  # another drive
        return str(path)


def _copy_words(one: SuspectedCopy) -> str:
    way = "by pixels" if one.by == "pixels" else "by DINOv2"
    return f"distance {one.distance:.2f} {way}; different pictures are usually {one.usual:.2f} apart or more"
