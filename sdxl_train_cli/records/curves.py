"""A run's metrics as columns over its steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.records import metrics, picture_losses
from sdxl_train_cli.records.picture_losses import Validation

Column = tuple[float | None, ...]


@dataclass(frozen=True)
class Curves:
    """Columns with one value per step. None if missing or not a number."""

    steps: tuple[int, ...] = ()
    losses: Column = ()
    average_losses: Column = ()
    rates: Mapping[str, Column] = field(default_factory=dict)
    seconds: Column = ()
    """Seconds per step."""
    used_gib: Column = ()
    total_gib: Column = ()
    watts: Column = ()
    odd: tuple[tuple[int, str], ...] = ()
    """Steps whose loss was `nan` or `inf`."""
    unread: int = 0
    """Invalid lines, not counting a last line truncated by a power cut."""
    validation_losses: Column = ()
    """Where pictures are held back, the mean loss on them; at few steps."""
    training_part_losses: Column = ()
    """The mean loss on a part of the pictures that are trained on, measured beside them."""


def load(path: Path) -> Curves:
    """Read a metrics file. Empty if there is none. A step repeated by a resumed run counts as made last."""
    rows: dict[int, Mapping[str, object]] = {}
    unread = 0
    try:
        for line in metrics.lines(path):
            row = metrics.row(line)
            if row is not None:
                rows[int(str(row["step"]))] = row
            elif line.endswith(b"\n"):
                unread += 1
    except FileNotFoundError:
        return Curves()
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from error
    measured = {one.step: one for one in picture_losses.load(path.with_name(picture_losses.FILE))}
    return _with_pictures(_columns([rows[step] for step in sorted(rows)], sorted(rows), unread), measured)


def _with_pictures(found: Curves, measured: Mapping[int, Validation]) -> Curves:
    """With the means of single pictures' losses: where sd-scripts validates at steps, its own count some twice."""
    if not measured:
        return found
    looks = [measured.get(step) for step in found.steps]
    logged = found.validation_losses or (None,) * len(looks)
    held_back = tuple(old if look is None else look.loss for old, look in zip(logged, looks, strict=True))
    trained = tuple(None if look is None else look.training_loss for look in looks)
    return replace(found, validation_losses=held_back, training_part_losses=trained)


def thin(curves: Curves, most: int) -> Curves:
    """At most `most` steps. Each interval keeps its lowest and highest loss, so that no peak is lost.

    Steps without a finite loss are listed in `odd`, which is kept whole.
    """
    count = len(curves.steps)
    if count <= most:
        return curves
    shown = curves.losses if any(loss is not None for loss in curves.losses) else curves.average_losses
    width = math.ceil(count / max(1, most // 2))
    kept: list[int] = []
    for start in range(0, count, width):
        stretch = range(start, min(start + width, count))
        known = [index for index in stretch if shown[index] is not None] or [start]
        ends = {min(known, key=lambda index: shown[index] or 0.0), max(known, key=lambda index: shown[index] or 0.0)}
        ends |= {index for index in stretch if curves.validation_losses and curves.validation_losses[index] is not None}
        kept += sorted(ends)
    return replace(
        curves,
        steps=tuple(curves.steps[index] for index in kept),
        losses=_picked(curves.losses, kept),
        average_losses=_picked(curves.average_losses, kept),
        validation_losses=_picked(curves.validation_losses, kept),
        training_part_losses=_picked(curves.training_part_losses, kept),
        rates={name: _picked(column, kept) for name, column in curves.rates.items()},
        seconds=_picked(curves.seconds, kept),
        used_gib=_picked(curves.used_gib, kept),
        total_gib=_picked(curves.total_gib, kept),
        watts=_picked(curves.watts, kept),
    )


def _picked(column: Column, indices: Sequence[int]) -> Column:
    return tuple(column[index] for index in indices) if column else ()


def _columns(rows: Sequence[Mapping[str, object]], steps: Sequence[int], unread: int) -> Curves:
    names = sorted({name for row in rows for name in _rates(row)})
    odd = tuple((step, text) for step, row in zip(steps, rows, strict=True) if (text := _odd(row)) is not None)
    return Curves(
        steps=tuple(steps),
        losses=_column(rows, "loss"),
        average_losses=_column(rows, "average_loss"),
        validation_losses=_column(rows, "validation_loss"),
        rates={name: tuple(_number(_rates(row).get(name)) for row in rows) for name in names},
        seconds=_column(rows, "seconds"),
        used_gib=_column(rows, "gpu_used_gib"),
        total_gib=_column(rows, "gpu_total_gib"),
        watts=_column(rows, "gpu_power_watts"),
        odd=odd,
        unread=unread,
    )


def _column(rows: Sequence[Mapping[str, object]], name: str) -> Column:
    return tuple(_number(row.get(name)) for row in rows)


def _rates(row: Mapping[str, object]) -> Mapping[str, object]:
    rates = row.get("rates")
    return rates if isinstance(rates, dict) else {}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None  # integers are at most files.MOST_DIGITS long


def _odd(row: Mapping[str, object]) -> str | None:
    """`nan` or `inf`, as text or as Python's json writes it. Without the loss itself, the average decides."""
    for value in (row.get("loss"), row.get("average_loss")):
        text = str(value).lower().lstrip("-")
        if text in {"nan", "inf", "infinity"}:
            return "nan" if text == "nan" else "inf"
        if value is not None:
            return None
    return None
