"""Collect the contents of the page of a run's drawn pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from sdxl_train_cli import __version__, formatting
from sdxl_train_cli.ranking import picture_words
from sdxl_train_cli.ranking.picture_scores import DrawnPictures, PictureFindings, SuspectedCopy
from sdxl_train_cli.ranking.verdict import Verdict
from sdxl_train_cli.ui import thumbnails
from sdxl_train_cli.ui.grid_page import PageCopy, PagePicture, PagePlace, ScoredGridPage

_SIDE, _LEAST_BYTES = 448, 9000
_PAGE_BYTES = 16_000_000
"""Limit for all pictures as stored in the page: they shrink where there are many."""
_BASE = "base model"


def gather(
    found: Verdict, drawn: DrawnPictures, pictures: PictureFindings, reasons: Sequence[str], target: Path
) -> ScoredGridPage:
    """Collect the page's contents. Links to full-size pictures are seen from the target's folder."""
    names = {one.candidate.path: one.candidate.moment for one in found.checkpoints}
    files = [path for path in names if any(one.checkpoint == path for one in drawn.pictures)]
    strengths = sorted({one.strength for one in drawn.pictures if one.checkpoint is not None})
    choice = found.pictured
    best = (found.best.candidate.path, found.strength) if choice is None else (choice.candidate.path, choice.strength)

    def place_of(checkpoint: Path | None, strength: float) -> tuple[int, int]:
        return (0, 0) if checkpoint is None else (1 + files.index(checkpoint), strengths.index(strength))

    places = [] if pictures.base is None else [PagePlace(0, 0, picture_words.figures(pictures.base), is_best=False)]
    places += [
        PagePlace(*place_of(path, at), picture_words.figures(score), is_best=path == best[0] and best[1] in {at, None})
        for (path, at), score in pictures.scores.items()
        if path in files
    ]
    suspected = {one.picture.path: number for number, one in enumerate(pictures.copies)}
    shown = [one for one in drawn.pictures if one.checkpoint is None or one.checkpoint in files]
    sources = _sources([one.path for one in shown])
    trained = _sources([one.training for one in pictures.copies])
    headline = picture_words.headline(choice) if choice is not None else found.best.candidate.path.name
    return ScoredGridPage(
        name=found.evidence.name,
        folder=str(found.evidence.folder),
        made=f"{formatting.moment(datetime.now(timezone.utc))} by sdxl-train {__version__}",
        verdict=headline,
        reasons=tuple(reasons),
        notes=(*picture_words.doubts(pictures), picture_words.WEIGHTS),
        checkpoints=(_BASE, *(names[path] for path in files)),
        strengths=tuple(f"{one:g}" for one in strengths),
        prompts=drawn.prompts,
        headings=picture_words.HEADINGS[2:],
        places=tuple(places),
        pictures=tuple(
            PagePicture(
                *place_of(one.checkpoint, one.strength), one.prompt, one.seed, _from(target, one.path), source,
                suspected.get(one.path),
            )
            for one, source in zip(shown, sources, strict=True)
            if source is not None
        ),
        copies=tuple(
            PageCopy(one.training.name, source or "", _copy_words(one))
            for one, source in zip(pictures.copies, trained, strict=True)
        ),
    )  # fmt: skip


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
