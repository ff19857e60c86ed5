"""A dataset as a web page: buckets with their pictures, crops, captions and problems."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sdxl_train_cli.dataset.decode_memory import DecodeMemory
from sdxl_train_cli.dataset.picture import limit_memory
from sdxl_train_cli.ui import thumbnails, web_page

_PARTS = Path(__file__).with_name("dataset_page_parts")
PICTURES_BYTES = 16_000_000
"""Limit for all thumbnails as stored in the page. Each gets an equal share."""
MOST_SIDE, LEAST_SIDE = 512, 64
QUALITY = 72
_BYTES_PER_PIXEL = 0.2
"""Encoded size that a photo rarely exceeds at this quality. One that does is shrunk."""


@dataclass(frozen=True)
class PictureCard:
    """One picture."""

    name: str
    folder: int
    """Index into the page's folders."""
    bucket: int | None
    """Index into the page's buckets. None if the picture is in none; `note` says why."""
    note: str
    size: tuple[int, int]
    """File size in pixels. Zeros if unknown."""
    resized: tuple[int, int] | None
    crop: tuple[int, int, int, int] | None
    """Left, top, right, bottom of the kept part, in pixels of the file."""
    enlarged: float
    lost: float
    repeats: int
    is_reg: bool
    caption: str
    """The caption as trained."""
    caption_note: str
    """Source of the caption, if not a file of its own."""
    tokens: int | None
    findings: tuple[tuple[int, str], ...]
    """Indices into the page's findings, each with the detail about this picture."""


@dataclass(frozen=True)
class FindingGroup:
    """One kind of problem."""

    kind: str
    severity: str
    message: str
    hint: str
    cards: int
    """Indices of the pictures that have the problem."""
    others: tuple[str, ...]
    """Files that have the problem, belong to no picture and are not named in the message."""


@dataclass(frozen=True)
class BucketView:
    """One bucket."""

    width: int
    height: int
    count: int
    """Pictures including repeats."""
    pictures: int
    batches: int
    batch_size: int
    last_batch: int
    """Pictures in the last batch."""


@dataclass(frozen=True)
class LookalikeGroup:
    """Similar pictures, as indices into the cards."""

    kind: str
    cards: tuple[int, ...]


@dataclass(frozen=True)
class DatasetPage:
    """Contents of the page."""

    name: str
    kind: str
    folder: str
    made: str
    tiles: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    folders: tuple[str, ...]
    findings: tuple[FindingGroup, ...]
    buckets: tuple[BucketView, ...]
    sizes: tuple[tuple[int, int, int], ...]
    tags: tuple[tuple[str, int], ...]
    unit: str
    """Unit of the lengths, as a heading."""
    read: int
    """Tokens read of a caption at most."""
    lengths: tuple[tuple[str, int, bool], ...]
    """Label, number of captions, and whether they exceed what is read."""
    alike: tuple[LookalikeGroup, ...]
    alike_more: int
    """Number of groups not shown."""
    cards: tuple[PictureCard, ...]


def html(shown: DatasetPage, sources: Sequence[str | None]) -> str:
    """The complete page. `sources` are the cards' pictures as `data:` URLs."""
    content = {**asdict(shown), "sources": sources}
    return web_page.html(content, _part("page.css"), (_part("page.js"),))


def side(count: int) -> int:
    """Thumbnail side in pixels at which this many fit into the page's size."""
    fitting = int((PICTURES_BYTES / _BYTES_PER_PIXEL / max(1, count)) ** 0.5)
    return max(LEAST_SIDE, min(MOST_SIDE, fitting // 16 * 16))


def sources(pictures: Sequence[Path | None]) -> Iterator[str | None]:
    """Yield each thumbnail, or None if there is no picture."""
    known = [picture for picture in pictures if picture is not None]
    made = thumbnails.data_uris(known, side(len(known)), QUALITY, PICTURES_BYTES // max(1, len(known)), DecodeMemory())
    with limit_memory():
        for each in pictures:
            yield None if each is None else next(made)


def _part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")
