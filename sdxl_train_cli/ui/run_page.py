"""A run as a self-contained web page: no network, no other file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from sdxl_train_cli.records.curves import Curves
from sdxl_train_cli.ui import web_page

_PARTS = Path(__file__).with_name("run_page_parts")


@dataclass(frozen=True)
class PageTable:
    """One table."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    is_open: bool = True


@dataclass(frozen=True)
class GridPicture:
    """One sample in the grid."""

    moment: str
    prompt: int
    file: str
    source: str


@dataclass(frozen=True)
class SampleGrid:
    """Grid of sample pictures: a row per prompt, a column per moment."""

    moments: tuple[str, ...]
    prompts: tuple[str, ...]
    pictures: tuple[GridPicture, ...]
    note: str


@dataclass(frozen=True)
class RunPage:
    """Contents of the page."""

    name: str
    state: str
    kind: str
    folder: str
    made: str
    tiles: tuple[tuple[str, str], ...]
    cause: str
    remedy: str
    curves: Curves
    curves_note: str
    samples: SampleGrid
    tables: tuple[PageTable, ...]
    command: str


def write(shown: RunPage, target: Path) -> None:
    """Write the page atomically. UsageError if that fails."""
    web_page.write(html(shown), target, "--to")


def html(shown: RunPage) -> str:
    """The complete page. Lone surrogates in file names are replaced by encodable text."""
    return with_plots(asdict(shown), _part("page.css"), _part("page.js"))


def with_plots(content: object, style: str, script: str) -> str:
    """A complete page whose script may call the functions of plots.js."""
    plots = "The plots are drawn by uPlot 1.6.32 (https://github.com/leeoniya/uPlot), under this licence:\n"
    return web_page.html(
        content,
        _part("uPlot.min.css") + style,
        (_part("uPlot.iife.min.js"), _part("plots.js") + script),
        plots + _part("uPlot.LICENSE.txt"),
    )


def _part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")
