"""A sweep as it is kept: what varies, its points, and the job of each."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from sdxl_train_cli.records.record import Name


class Way(str, Enum):
    """How points are chosen."""

    GRID = "grid"
    RANDOM = "random"
    SEARCH = "search"


class _SweepModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class KeptRange(_SweepModel):
    """A range of numbers."""

    low: float
    high: float
    is_whole: bool


class KeptAxis(_SweepModel):
    """One option that is varied."""

    option: str
    values: tuple[str, ...] = ()
    range: KeptRange | None = None


class Point(_SweepModel):
    """One training of a sweep."""

    name: Name
    settings: Mapping[str, str]
    """A value for each option that is varied, as `--set` takes it."""
    token: str
    """Of its job, which its run's record has too. Empty if it was refused."""
    is_queued: bool = True
    """Whether it has been handed over. A search's point that was cut off before is made anew."""
    refused: str | None = None
    """Why a search's point can't train."""


class Sweep(_SweepModel):
    """Contents of `sweep.json`."""

    sdxl_train: str
    """Our version. Without it, the file is not ours."""
    name: Name
    kind: str
    preset: str
    way: Way
    made: datetime
    output: Path
    """Where the runs' folders are made."""
    axes: tuple[KeptAxis, ...]
    points: tuple[Point, ...]
    count: int = Field(ge=1)
    """Points that are wanted in all; a search has fewer until the end."""
    is_queued: bool = False
    """Whether its points are known to have been handed over. Without it, jobs with their tokens tell.

    One that was cut off before is as good as none.
    """
    is_stopped: bool = False
    """Whether a search is to ask for no further point."""
    caches: str = ""
    """What is said of shared caches."""
    shares_caches: bool = False
    """Whether the first run makes caches on disk for all."""
    base: str = ""
    """JSON of the record that further points of a search are made from."""
    guards_off: tuple[str, ...] = ()
    step_downs: int = 0
    at_once: int = 1
    """Points of a search that are open at a time."""
    on_slurm: bool = False
    """Whether a cluster has its points, and not the queue."""
    prunes: bool = False
    """Whether a point that is clearly behind is stopped early."""
