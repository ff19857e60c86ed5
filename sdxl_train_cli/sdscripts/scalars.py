"""Values that the trainer logs for TensorBoard, read as they arrive. The progress bar lacks some of them.

The bar shows a mean loss of three digits; the event files contain every step's loss and the learning rates.
TensorBoard's own reader needs numpy and gRPC, and always reads a file from its start. The two formats are stable:
TFRecord (length, checksum, content, checksum) around TensorFlow's protobuf messages Event and Summary.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sdxl_train_cli import files

_HEAD, _TAIL = 12, 4
"""Bytes before a record's content (length and checksum), and after it (checksum)."""
_LONGEST_RECORD = 1 << 26
_MOST_AT_ONCE = 1 << 27
"""Bytes read at a time. No record is longer."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


@dataclass(frozen=True)
class LoggedScalars:
    """Values logged together."""

    step: int
    values: Mapping[str, float]
    time: float = 0.0
    """Unix seconds."""


class EventFileTail:
    """Event files of a folder that are not in `known`, read incrementally."""

    def __init__(self, folder: Path, known: frozenset[Path] = frozenset()) -> None:
        self._folder, self._known = folder, known
        self._read: dict[Path, int] = {}

    @property
    def has_begun(self) -> bool:
        """Whether there is a file."""
        return bool(self._read)

    def read(self) -> list[LoggedScalars]:
        """New values since the last call. Empty if there are none, or if a file can't be read."""
        found: list[LoggedScalars] = []
        for path in event_files(self._folder) - self._known:
            try:
                with files.open_plain(path) as file:
                    file.seek(self._read.get(path, 0))
                    content = file.read(_MOST_AT_ONCE)
            except OSError:
                continue
            scalars, length = parse(content)
            self._read[path] = self._read.get(path, 0) + length
            found += scalars
        return found


def event_files(folder: Path) -> frozenset[Path]:
    """TensorBoard's event files under a folder."""
    return frozenset(folder.rglob("events.out.tfevents.*"))


def parse(content: bytes) -> tuple[list[LoggedScalars], int]:
    """Records in part of a file, and the bytes of complete ones. The last record may be incomplete."""
    found: list[LoggedScalars] = []
    at = 0
    while at + _HEAD <= len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        end = at + _HEAD + length + _TAIL
        if length > _LONGEST_RECORD or end > len(content):
            break
        scalars = _event(content[at + _HEAD : end - _TAIL])
        if scalars is not None:
            found.append(scalars)
        at = end
    return _together(found), at


def _together(found: list[LoggedScalars]) -> list[LoggedScalars]:
    """Merge consecutive records of a step until a name repeats: each value is a record of its own."""
    joined: list[LoggedScalars] = []
    for scalars in found:
        last = joined[-1] if joined else None
        if last is not None and last.step == scalars.step and not last.values.keys() & scalars.values.keys():
            joined[-1] = replace(last, values={**last.values, **scalars.values})
        else:
            joined.append(scalars)
    return joined


def _event(record: bytes) -> LoggedScalars | None:
    step, seconds, values = 0, 0.0, dict[str, float]()
    try:
        for number, value in _fields(record):
            if number == 1 and isinstance(value, float):  # Event.wall_time
                seconds = value
            elif number == 2 and isinstance(value, int):  # noqa: PLR2004 - Event.step
                step = value
            elif number == 5 and isinstance(value, bytes):  # noqa: PLR2004 - Event.summary
                values |= _summary(value)
    except (ValueError, IndexError, struct.error):
        return None
    return LoggedScalars(step, values, seconds) if values else None


def _summary(message: bytes) -> dict[str, float]:
    values = {}
    for number, value in _fields(message):
        if number == 1 and isinstance(value, bytes):
            fields = dict(_fields(value))
            tag, simple_value = fields.get(1), fields.get(2)
            if isinstance(tag, bytes) and isinstance(simple_value, float):
                values[tag.decode("utf-8", errors="replace")] = simple_value
    return values


def _fields(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield number, value
        elif kind == _FIXED64:
            yield number, float(struct.unpack_from("<d", message, at)[0])
            at += 8
        elif kind == _FIXED32:
            yield number, float(struct.unpack_from("<f", message, at)[0])
            at += 4
        elif kind == _BYTES:
            length, at = _varint(message, at)
            yield number, message[at : at + length]
            at += length
        else:
            raise ValueError(kind)


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_LONGEST_VARINT):
        byte = message[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:  # noqa: PLR2004 - the last byte has no continuation bit
            return value, at + place + 1
    raise ValueError(at)
