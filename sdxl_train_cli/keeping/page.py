"""A run as one web page that needs nothing else: no network, no other file.

All that comes from the run goes into one block of JSON, from which the page's script builds text nodes: no name,
caption or prompt is ever read as HTML. The page may run its own two scripts, told by their checksums, and may fetch
nothing.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.keeping.curves import Curves

_PARTS = Path(__file__).with_name("report_page")


@dataclass(frozen=True)
class Rows:
    """One table."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    is_open: bool = True


@dataclass(frozen=True)
class Picture:
    """One sample in the grid."""

    moment: str
    prompt: int
    file: str
    source: str


@dataclass(frozen=True)
class Samples:
    """The grid of pictures: a row for each prompt, a column for each moment."""

    moments: tuple[str, ...]
    prompts: tuple[str, ...]
    pictures: tuple[Picture, ...]
    note: str


@dataclass(frozen=True)
class Page:
    """All that the page shows."""

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
    samples: Samples
    tables: tuple[Rows, ...]
    command: str


def write(shown: Page, target: Path) -> None:
    """Write the page beside, then rename; UsageError where it can't be written."""
    beside = target.with_name(target.name + ".new")
    try:
        beside.write_text(html(shown), encoding="utf-8", newline="\n")
        beside.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise UsageError(f"{target} can't be written: {error.strerror}", "choose another file with --to") from error


def html(shown: Page) -> str:
    """The whole page; lone surrogates in file names become what can be written."""
    data = _safe_json(asdict(shown))
    script, plot = _part("page.js"), _part("uPlot.iife.min.js")
    style = _part("uPlot.min.css") + _part("page.css")
    policy = (
        f"default-src 'none'; img-src data:; script-src {_checksum(plot)} {_checksum(script)}; "
        f"style-src {_checksum(style)}; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": policy,
        "style": style,
        "data": data,
        "plot": plot,
        "script": script,
        "licence": _part("uPlot.LICENSE.txt").replace("--", "- -"),
    }
    # One pass: what a part holds is not looked at again.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _part("page.html"))


def _part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")


def _checksum(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _safe_json(content: object) -> str:
    """JSON that ends no script element and begins no comment, in plain ASCII where letters could be odd."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
