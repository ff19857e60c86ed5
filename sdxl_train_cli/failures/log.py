"""A log as lines of text: the tail of any file, decoded, without colours, boxes and what bars overwrite."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import BinaryIO

TAIL_BYTES = 4 * 1024 * 1024
"""What is read of a large log, from its end: an error is told there, and 100 MB of bars stand before it."""

_MARKS = ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"\xef\xbb\xbf", "utf-8"))
_NULS = 0.2
"""Share of NUL bytes from which a text without a mark is UTF-16: PowerShell appends such to a file."""
_COMMANDS = re.compile(
    r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)
"""Colours, titles and whatever else a terminal would obey: a stranger's log is only to be read."""
_HEAD, _TAIL = 3000, 1000
"""Letters kept of a longer line: an error's name stands at its head, and what came of a command at its tail."""
_GAP_LETTERS = 100
_GAP = re.compile(rf"\s{{{_GAP_LETTERS},}}")


def read_tail(file: BinaryIO, size: int) -> list[str]:
    """The lines of a seekable file's last 4 MiB; `size` is the file's, in bytes."""
    file.seek(0)
    head = file.read(3)
    start = max(0, size - TAIL_BYTES) // 4 * 4  # a letter of UTF-16 takes 2 bytes or 4
    file.seek(start)
    return decode(file.read(TAIL_BYTES + 4), head)


def decode(content: bytes, head: bytes | None = None) -> list[str]:
    """Lines out of bytes: UTF-8, or UTF-16 as PowerShell writes it; `head` is how the whole file begins."""
    encoding = _encoding(content[:3] if head is None else head, content)
    text = content.decode(encoding, errors="replace").lstrip("\ufeff")
    return lines(text)


def lines(text: str) -> list[str]:
    """Lines as a terminal would show them, a bar's every state as one of its own."""
    return [_cut(line.rstrip()) for line in re.split(r"\r\n|\n|\r", _COMMANDS.sub("", text))]


def _cut(line: str) -> str:
    """A line that patterns may look at: some take time by the square of its length, or of a gap in it."""
    if len(line) < _GAP_LETTERS:
        return line
    short = line if len(line) <= _HEAD + _TAIL else f"{line[:_HEAD]} ... {line[-_TAIL:]}"
    return _GAP.sub(" " * _GAP_LETTERS, short)


def clean_lines(found: Iterable[str]) -> list[str]:
    """The same for lines that come one by one, without those that are blank."""
    return [line for line in lines("\n".join(found)) if line]


def _encoding(head: bytes, content: bytes) -> str:
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    sample = content[:4096]
    if sample and sample.count(0) > _NULS * len(sample):
        return "utf-16-le" if sample[1::2].count(0) >= sample[::2].count(0) else "utf-16-be"
    return "utf-8"
