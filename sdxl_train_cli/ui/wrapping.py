"""Break lines at words. What is to be typed stays on one line, so that it can be copied."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from sdxl_train_cli import visible

_PIECE = re.compile(
    r"`[^`]*`\S*"  # a command in a sentence
    r"|sdxl-train(?: (?!or\b|and\b)[^\s,;]+)*[,;]?"  # a command alone
    r"|--[a-z][\w-]*(?:[ =](?:'[^']*'|\"[^\"]*\"|(?!or\b)\S+))?"  # a flag with its value
    r"|\S+"
)


def columns(text: str) -> int:
    """Columns that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def wrap(text: str, width: int, hanging: int = 0) -> list[str]:
    """The text in lines of at most this width, where its pieces allow it.

    `hanging` is the room that the first line has lost to its label, and the indentation of all others.
    """
    start = len(text) - len(text.lstrip(" "))
    lines, line, taken = [], text[:start], hanging + start
    indent = " " * (hanging + start)
    for gap, piece in _pieces(text[start:]):
        needed = columns(gap) + columns(piece)
        if line.strip() and taken + needed > width:
            lines.append(line)
            line, taken = indent + piece, len(indent) + columns(piece)
        else:
            line, taken = line + gap + piece, taken + needed
    return [*lines, line]


def _pieces(text: str) -> list[tuple[str, str]]:
    """What is kept together, each with the spaces before it."""
    found, end = [], 0
    for match in _PIECE.finditer(text):
        found.append((text[end : match.start()], match[0]))
        end = match.end()
    return found


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines whose columns stand below each other."""
    return ["  ".join(row).rstrip() for row in zip(*map(_padded, zip(*rows, strict=True)), strict=True)]


def _padded(cells: Sequence[str]) -> list[str]:
    """A column's cells, all as wide as the widest."""
    whole = "".join(cells)
    if whole.isascii() and whole.isprintable():  # nearly all, and ten times as fast
        width = max(map(len, cells))
        return [cell.ljust(width) for cell in cells]
    clean = [visible.line(cell) for cell in cells]
    width = max(map(columns, clean))
    return [cell + " " * (width - columns(cell)) for cell in clean]
