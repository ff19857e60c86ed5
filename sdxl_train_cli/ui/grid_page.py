"""A run's drawn pictures as a self-contained web page: sliders over checkpoints and strengths, and the scores."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from sdxl_train_cli.ui import web_page

_PARTS = Path(__file__).with_name("grid_page_parts")


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
class ScoredGridPage:
    """Contents of the page."""

    name: str
    folder: str
    made: str
    verdict: str
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    checkpoints: tuple[str, ...]
    """The base model first."""
    strengths: tuple[str, ...]
    prompts: tuple[str, ...]
    headings: tuple[str, ...]
    places: tuple[PagePlace, ...]
    pictures: tuple[PagePicture, ...]
    copies: tuple[PageCopy, ...]


def write(shown: ScoredGridPage, target: Path) -> None:
    """Write the page atomically. UsageError if that fails."""
    web_page.write(html(shown), target, "--to")


def html(shown: ScoredGridPage) -> str:
    """The complete page."""
    return web_page.html(asdict(shown), _part("page.css"), (_part("page.js"),))


def _part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")
