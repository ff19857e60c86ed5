"""What the doctor tries, what is enough, and what to do where it fails: rows of doctor_checks.toml."""

from __future__ import annotations

from enum import Enum
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from sdxl_train_cli import untrusted_files

_TABLE = Path(__file__).with_name("doctor_checks.toml")


class Weight(str, Enum):
    """What a failed check means."""

    ERROR = "error"
    WARNING = "warning"


class _DoctorRow(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CheckRow(_DoctorRow):
    """One check."""

    name: str
    tried: str
    hint: str
    exercise: bool = False
    after: tuple[str, ...] = ()
    weight: Weight = Weight.ERROR
    reinstall: tuple[str, ...] = ()
    only_with: str | None = None
    least_gib: float = 0.0
    slow_seconds: float | None = None
    slow_hint: str | None = None
    changed_hint: str | None = None
    build_hint: str | None = None
    source: str = ""


class DriverRow(_DoctorRow):
    """The oldest driver for one generation of CUDA."""

    cuda: int
    linux: str
    windows: str
    source: str


@cache
def checks() -> tuple[CheckRow, ...]:
    """Every check, in the order in which it is told."""
    return TypeAdapter(tuple[CheckRow, ...]).validate_python(_table()["check"])


@cache
def drivers() -> tuple[DriverRow, ...]:
    """The oldest drivers, by CUDA."""
    return TypeAdapter(tuple[DriverRow, ...]).validate_python(_table()["driver"])


def _table() -> dict[str, object]:
    return untrusted_files.toml_table(_TABLE.read_text(encoding="utf-8"), _TABLE.name)
