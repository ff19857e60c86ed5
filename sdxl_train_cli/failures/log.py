"""A log as lines of text: the tail of any file, decoded, without colours, boxes and overwritten progress bars."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import BinaryIO

TAIL_BYTES = 4 * 1024 * 1024
"""How much of a large log is read, from its end. Errors are there, possibly after 100 MB of bars."""

_MARKS = ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"), (b"\xef\xbb\xbf", "utf-8"))
_NULS = 0.2
"""Share of NUL bytes above which text without a BOM is UTF-16, as PowerShell appends to files."""
_COMMANDS = re.compile(
    r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)
"""Terminal control sequences: colours, titles and others. A stranger's log must not control the terminal."""
_HEAD, _TAIL = 3000, 1000
"""Characters kept of a longer line: an error's name is at its head, a command's result at its tail."""
_GAP_LETTERS = 100
_GAP = re.compile(rf"\s{{{_GAP_LETTERS},}}")


def read_tail(file: BinaryIO, size: int) -> list[str]:
    """Lines of the last 4 MiB of a seekable file. `size` is the file's size in bytes."""
    file.seek(0)
    head = file.read(3)
    start = max(0, size - TAIL_BYTES) // 4 * 4  # a UTF-16 character takes 2 or 4 bytes
    file.seek(start)
    return decode(file.read(TAIL_BYTES + 4), head)


def decode(content: bytes, head: bytes | None = None) -> list[str]:
    """Decode to lines: UTF-8, or UTF-16 as PowerShell writes it. `head` is the start of the whole file."""
    encoding = _encoding(content[:3] if head is None else head, content)
    text = content.decode(encoding, errors="replace").lstrip("\ufeff")
    return lines(text)


def lines(text: str) -> list[str]:
    """Split into lines as a terminal shows them, with every state of a bar on a line of its own."""
    return [_cut(line.rstrip()) for line in re.split(r"\r\n|\n|\r", _COMMANDS.sub("", text))]


def _cut(line: str) -> str:
    """Shorten a line for pattern matching: some patterns are quadratic in its length, or in a gap within it."""
    if len(line) < _GAP_LETTERS:
        return line
    short = line if len(line) <= _HEAD + _TAIL else f"{line[:_HEAD]} ... {line[-_TAIL:]}"
    return _GAP.sub(" " * _GAP_LETTERS, short)


def clean_lines(found: Iterable[str]) -> list[str]:
    """Clean lines that arrive one by one, dropping blank ones."""
    return [line for line in lines("\n".join(found)) if line]


def _encoding(head: bytes, content: bytes) -> str:
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    sample = content[:4096]
    if sample and sample.count(0) > _NULS * len(sample):
        return "utf-16-le" if sample[1::2].count(0) >= sample[::2].count(0) else "utf-16-be"
    return "utf-8"
