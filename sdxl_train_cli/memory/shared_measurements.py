"""Measurements as a CSV to share: written whole, and read with every row validated."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError

from sdxl_train_cli import files, handed_file
from sdxl_train_cli.errors import Problem, UsageError
from sdxl_train_cli.memory.measurements import Measurement
from sdxl_train_cli.origin import Origin

COLUMNS = tuple(name for name in Measurement.model_fields if name != "is_from_elsewhere")
_HINT = "it reads what `sdxl-train vram --export` wrote"
_MAY_BE_EMPTY = {"network_dim", "seconds_per_step", "fast", "sample_pixels", "decodes_whole"}
_MAY_BE_ABSENT = {"fast", "sample_pixels", "decodes_whole"}
"""Columns that older files lack."""
_SHOWN = 10
_LARGEST_BYTES = 50_000_000


def to_csv(records: Iterable[Measurement]) -> str:
    """The CSV with each record once. Of the machine it only names GPU, driver and versions."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(COLUMNS)
    for record in records:
        cells = record.model_dump(mode="json")
        writer.writerow(["" if cells[name] is None else _cell(cells[name]) for name in COLUMNS])
    return written.getvalue()


def _cell(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def write(path: Path, content: str) -> None:
    """Write the CSV. UsageError if that fails."""
    try:
        with files.made_parent(path):
            files.write(path, content)
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}", "choose another file") from error


def new_records(new: Iterable[Measurement], known: Iterable[Measurement]) -> list[Measurement]:
    """Records that are not known yet. An own record that returns from somebody else remains an own one."""
    there = {_identity(record) for record in known}
    return [record for record in dict.fromkeys(new) if _identity(record) not in there]


def _identity(record: Measurement) -> str:
    return record.model_copy(update={"is_from_elsewhere": True}).model_dump_json()


def read(path: Path) -> list[Measurement]:
    """Somebody else's records, marked as such. UsageError lists every invalid row, and nothing is imported."""
    other = handed_file.other_kind(path, "measured", "what `sdxl-train vram --export` wrote")
    if other is not None:
        raise UsageError(other)
    reader = csv.DictReader(io.StringIO(_content(path)), strict=True)
    try:
        missing = [name for name in COLUMNS if name not in {*(reader.fieldnames or ()), *_MAY_BE_ABSENT}]
        if missing:
            message = f"{path} has no column {', '.join(missing)}"
            raise UsageError(message, _HINT)
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise UsageError(f"{path}: line {reader.line_num} is not CSV: {error}", _HINT) from error
    found, problems = list[Measurement](), list[Problem]()
    for number, row in rows:
        try:
            found.append(_measurement(row))
        except ValidationError as error:
            problems.append(Problem(_why(error), None, Origin(str(path), number)))
    if problems:
        more = [Problem(f"and {len(problems) - _SHOWN} more rows")] if len(problems) > _SHOWN else []
        raise UsageError([*problems[:_SHOWN], *more])
    return found


def _content(path: Path) -> str:
    try:
        return files.read_text(path, _LARGEST_BYTES)
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}", "name a CSV file") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8", _HINT) from error
    except ValueError as error:
        raise UsageError(f"{path} can't be read: {error}", _HINT) from error


def _measurement(row: Mapping[str | None, str | list[str] | None]) -> Measurement:
    """One row. Columns of other names are ignored."""
    cells = {name: str(row.get(name) or "") for name in COLUMNS}
    given = {name: text for name, text in cells.items() if text or name not in _MAY_BE_EMPTY}
    return Measurement.model_validate_strings({**given, "is_from_elsewhere": "true"})


def _why(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else str(first["msg"])
