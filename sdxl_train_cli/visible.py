r"""Make outside text safe for a terminal: characters that it would obey are written out, such as `\x1b`."""

from __future__ import annotations

import json
import re

_HIDDEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\U000e0000-\U000e007f"
)
"""Control characters of both sets, line ends but \\n, what turns the direction of writing, halves of letters, and marks
and tags that nobody sees. U+200D, which joins the parts of an emoji, stays."""
_IN_TEXT = re.compile(f"[{_HIDDEN}]")
_IN_LINE = re.compile(f"[\n{_HIDDEN}]")
_SHORT = {"\n": r"\n", "\r": r"\r"}
_LAST_OF_A_BYTE, _LAST_OF_TWO_BYTES = 0xFF, 0xFFFF
_BYTES = range(0xDC80, 0xDD00)
"""How Python represents bytes of a file name that are not UTF-8."""


def line(text: str) -> str:
    """Escape to one line. A line break inside could fake a line of ours."""
    return _IN_LINE.sub(_written, text)


def lines(text: str) -> str:
    """Escape a text of several lines."""
    return _IN_TEXT.sub(_written, text)


def as_json(found: object, indent: int | None = None) -> str:
    """JSON that parses back to the same text and is safe to print."""
    text = json.dumps(found, indent=indent, ensure_ascii=False, allow_nan=False)
    return _IN_TEXT.sub(_written_as_json, text)


def _written(match: re.Match[str]) -> str:
    letter = match[0]
    number = ord(letter)
    if number in _BYTES:
        number -= _BYTES.start - 0x80
    if number > _LAST_OF_TWO_BYTES:
        return f"\\U{number:08x}"
    return _SHORT.get(letter) or (f"\\x{number:02x}" if number <= _LAST_OF_A_BYTE else f"\\u{number:04x}")


def _written_as_json(match: re.Match[str]) -> str:
    number = ord(match[0])
    return json.dumps(match[0])[1:-1] if number > _LAST_OF_TWO_BYTES else f"\\u{number:04x}"
