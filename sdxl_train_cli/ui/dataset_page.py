"""A dataset as one web page: every bucket with its pictures, what is cropped of each, captions and problems."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sdxl_train_cli.dataset.decode_memory import DecodeMemory
from sdxl_train_cli.dataset.picture import reuse_decoder_memory
from sdxl_train_cli.ui import thumbnails, web_page

_PARTS = Path(__file__).with_name("dataset_page_parts")
PICTURES_BYTES = 16_000_000
"""Of all thumbnails together at most, as the page holds them: each has its share."""
MOST_SIDE, LEAST_SIDE = 512, 64
QUALITY = 72
_BYTES_PER_PIXEL = 0.2
"""What a photograph seldom exceeds at this quality, as text; one that does becomes smaller."""


@dataclass(frozen=True)
class PictureCard:
    """One picture."""

    name: str
    folder: int
    """Its place among the page's folders."""
    bucket: int | None
    """Its place among the page's buckets; None where it is in none, and `note` says why."""
    note: str
    size: tuple[int, int]
    """Of the file in pixels; zeros where it can't be told."""
    resized: tuple[int, int] | None
    crop: tuple[int, int, int, int] | None
    """Left, top, right, bottom of what is kept, in pixels of the file."""
    enlarged: float
    lost: float
    repeats: int
    is_reg: bool
    caption: str
    """As it is trained on."""
    caption_note: str
    """Where it comes from, if not from a file of its own."""
    tokens: int | None
    findings: tuple[tuple[int, str], ...]
    """Places among the page's findings, each with what there is to say of this picture."""


@dataclass(frozen=True)
class FindingGroup:
    """One kind of problem."""

    kind: str
    severity: str
    message: str
    hint: str
    cards: int
    """Pictures that have it."""
    others: tuple[str, ...]
    """Files that have it, belong to no picture and are not named in the message."""


@dataclass(frozen=True)
class BucketView:
    """One bucket."""

    width: int
    height: int
    count: int
    """Pictures with their repeats."""
    pictures: int
    batches: int
    last_batch: int
    """Pictures in the last batch."""


@dataclass(frozen=True)
class LookalikeGroup:
    """Pictures that resemble each other, as places among the cards."""

    kind: str
    cards: tuple[int, ...]


@dataclass(frozen=True)
class DatasetPage:
    """All that the page shows."""

    name: str
    kind: str
    folder: str
    made: str
    tiles: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    folders: tuple[str, ...]
    findings: tuple[FindingGroup, ...]
    buckets: tuple[BucketView, ...]
    batch_size: int
    sizes: tuple[tuple[int, int, int], ...]
    tags: tuple[tuple[str, int], ...]
    unit: str
    """Of the lengths, as a heading."""
    read: int
    """Tokens of a caption that are read at most."""
    lengths: tuple[tuple[str, int, bool], ...]
    """Label, captions, and whether they are longer than what is read."""
    alike: tuple[LookalikeGroup, ...]
    alike_more: int
    """Groups beyond those that are shown."""
    cards: tuple[PictureCard, ...]


def html(shown: DatasetPage, sources: Sequence[str | None]) -> str:
    """The whole page; `sources` are the cards' pictures as `data:` addresses."""
    content = {**asdict(shown), "sources": sources}
    return web_page.html(content, _part("page.css"), (_part("page.js"),))


def side(count: int) -> int:
    """How large thumbnails may be so that so many stay within the page's size, in pixels."""
    fitting = int((PICTURES_BYTES / _BYTES_PER_PIXEL / max(1, count)) ** 0.5)
    return max(LEAST_SIDE, min(MOST_SIDE, fitting // 16 * 16))


def sources(pictures: Sequence[Path | None]) -> Iterator[str | None]:
    """The thumbnail of each, one after the other; None where there is no picture."""
    known = [picture for picture in pictures if picture is not None]
    made = thumbnails.data_uris(known, side(len(known)), QUALITY, PICTURES_BYTES // max(1, len(known)), DecodeMemory())
    with reuse_decoder_memory():
        for each in pictures:
            yield None if each is None else next(made)


def _part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")
