r"""Text from outside as a terminal may show it: what it would obey instead is written out, such as `\x1b`."""

from __future__ import annotations

import json
import re

_HIDDEN = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
"""Control characters of both sets, line ends but \\n, what turns the direction of writing, and halves of letters."""
_IN_TEXT = re.compile(f"[{_HIDDEN}]")
_IN_LINE = re.compile(f"[\n{_HIDDEN}]")
_SHORT = {"\n": r"\n", "\r": r"\r"}
_LAST_OF_A_BYTE = 0xFF
_BYTES = range(0xDC80, 0xDD00)
"""How Python holds a file name's bytes that are not UTF-8."""


def line(text: str) -> str:
    """One line: a line end within it can't begin another, which would pass for ours."""
    return _IN_LINE.sub(_written, text)


def lines(text: str) -> str:
    """A text of several lines."""
    return _IN_TEXT.sub(_written, text)


def as_json(found: object, indent: int | None = None) -> str:
    """JSON that reads back as the same text, and that a terminal shows as it is."""
    text = json.dumps(found, indent=indent, ensure_ascii=False, allow_nan=False)
    return _IN_TEXT.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _written(match: re.Match[str]) -> str:
    letter = match[0]
    number = ord(letter)
    if number in _BYTES:
        number -= _BYTES.start - 0x80
    return _SHORT.get(letter) or (f"\\x{number:02x}" if number <= _LAST_OF_A_BYTE else f"\\u{number:04x}")
