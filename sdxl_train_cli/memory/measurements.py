"""Records of runs that were measured: one line a run in the home folder, held against runs of the same settings."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from pydantic import AwareDatetime, Field, ValidationError, model_validator

from sdxl_train_cli import files
from sdxl_train_cli.dataset import folders, largest_bucket
from sdxl_train_cli.dataset.folders import PictureFile, TrainingPictures
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import Problem
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory import memory_settings
from sdxl_train_cli.memory.memory_settings import MemorySettings
from sdxl_train_cli.memory.vram import MemoryNeed
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.sdscripts import buckets

_SHOWN = 5
_NEARLY = 1.1
"""A record of up to so many times the pixels speaks for a run, as its need is not below the run's."""
_ROUNDING_GIB = 0.5
"""How far a peak may seem to exceed the GPU: drivers round the card's size, and count it with and without reserve."""


class Measurement(MemorySettings):
    """One run that was measured: its settings, what it took, and on what."""

    width: int = Field(ge=1, le=8192)
    """Pixels: the bucket that made the fullest batch."""
    height: int = Field(ge=1, le=8192)
    together: int = Field(ge=1, le=4096)
    """Pictures in that batch: fewer than the batch size where the dataset has no more."""
    peak_gib: float = Field(gt=0)
    """The most GPU memory that the process tree held."""
    seconds_per_step: float | None = Field(default=None, gt=0)
    gpu: str = Field(min_length=1)
    gpu_total_gib: float = Field(gt=0, le=2048)
    driver: str
    torch: str
    sd_scripts: str
    """The branch or tag that was installed."""
    sd_scripts_commit: str
    measured: AwareDatetime
    is_from_elsewhere: bool = False
    """Whether it was read from somebody else's file."""

    @model_validator(mode="after")
    def _fits_its_gpu(self) -> Measurement:
        if self.peak_gib > self.gpu_total_gib + _ROUNDING_GIB:
            raise ValueError(f"a peak of {self.peak_gib:g} GB on a GPU of {self.gpu_total_gib:g}")
        if self.together > self.batch_size:
            raise ValueError(f"{self.together} pictures in a batch of {self.batch_size}")
        return self

    @property
    def recipe(self) -> Recipe:
        """The run again, as far as memory goes by it: what an estimate is made for."""
        return memory_settings.recipe(self, (self.width, self.height), self.together)

    def speaks_for(self, pixels: int, together: int) -> bool:
        """Whether its batch was as full, of pictures as large or a little larger: its need is not below the other's."""
        return self.together == together and pixels <= self.width * self.height <= _NEARLY * pixels

    @property
    def where_and_when(self) -> str:
        """How a check says what it goes by."""
        where = f"elsewhere on the same kind of GPU, {self.gpu}," if self.is_from_elsewhere else "on this machine"
        return f"measured {where} on {self.measured:%Y-%m-%d}"


def from_run(  # noqa: PLR0913, PLR0917 - what a run was is told in as many words
    recipe: Recipe,
    pictures: TrainingPictures,
    environment: Environment,
    device: Gpu,
    peak_gib: float,
    seconds_per_step: float | None,
) -> Measurement | None:
    """What a finished run has shown; None where its pictures are gone, or its values are out of range."""
    found = largest_bucket.fullest(recipe, folders.files(pictures))
    if found is None:
        return None
    bucket, together = found
    with contextlib.suppress(ValidationError):
        return Measurement(
            **dict(memory_settings.read(recipe)),
            width=bucket.width,
            height=bucket.height,
            together=together,
            peak_gib=round(peak_gib, 3),
            seconds_per_step=None if seconds_per_step is None else round(seconds_per_step, 4),
            gpu=device.name,
            gpu_total_gib=round(device.total_gib, 3),
            driver=device.driver,
            torch=environment.lock.packages.get("torch", ""),
            sd_scripts=environment.lock.ref,
            sd_scripts_commit=environment.lock.commit,
            measured=datetime.now(timezone.utc),
        )
    return None


def add(home: Home, *found: Measurement) -> Problem | None:
    """Append records, each in one write, so that two runs at once don't mix; a Problem where the disk refuses.

    What cannot be kept must not fail a run that has delivered.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
    try:
        home.path.mkdir(parents=True, exist_ok=True)
        file = os.open(home.measurements, flags, 0o644)
        try:
            for measurement in found:
                line = f"{measurement.model_dump_json()}\n".encode()
                os.write(file, line if _ends_whole(file) else b"\n" + line)
        finally:
            os.close(file)
    except OSError as error:
        message = f"the measured memory could not be kept in {home.measurements}: {error.strerror}"
        return Problem(message, "the run itself is not harmed")
    return None


def _ends_whole(file: int) -> bool:
    """Whether the last line was written to its end: a power cut may have torn it."""
    size = os.lseek(file, 0, os.SEEK_END)
    if size == 0:
        return True
    os.lseek(file, size - 1, os.SEEK_SET)
    return os.read(file, 1) == b"\n"


def load(home: Home) -> tuple[list[Measurement], list[Problem]]:
    """All records that can be read; one Problem names the lines that can't, which stay as they are."""
    try:
        lines = files.read_bytes(home.measurements).split(b"\n")
    except FileNotFoundError:
        return [], []
    except OSError as error:
        return [], [Problem(f"{home.measurements} can't be read: {error.strerror}")]
    except ValueError as error:
        return [], [Problem(f"{home.measurements} can't be read: {error}", "move it away: a run begins a new one")]
    found, broken = list[Measurement](), list[int]()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found.append(Measurement.model_validate_json(line))
        except ValidationError:
            broken.append(number)
    if not broken:
        return found, []
    more = f" and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
    which = f"line{'s' if len(broken) > 1 else ''} {', '.join(map(str, broken[:_SHOWN]))}{more}"
    message = f"{home.measurements}: {which} can't be read and {'are' if len(broken) > 1 else 'is'} passed over"
    return found, [Problem(message, "delete what is broken, or leave it: the other records count")]


@dataclass(frozen=True)
class MeasuredRuns:
    """Measured runs, to be asked what a run will take on one GPU."""

    found: Sequence[Measurement]
    device: Gpu
    commit: str
    """Of the sd-scripts that is installed."""
    pictures: Sequence[PictureFile] | None = None
    """None speaks of full batches of pictures as large as `resolution` lets them be."""

    def need(self, recipe: Recipe) -> MemoryNeed | None:
        """What a run of the same settings took; None where none was measured."""
        record = self.like(recipe)
        return None if record is None else need(record, self.commit)

    def like(self, recipe: Recipe) -> Measurement | None:
        """The highest record of the same settings on this name of GPU; own ones, of this sd-scripts, come first."""
        try:
            settings = memory_settings.read(recipe)
        except ValidationError:
            return None  # its values are out of range: the estimate names them
        same = [record for record in self.found if record.gpu == self.device.name and record.is_like(settings)]
        batch = self._fullest(recipe) if same else None
        if batch is None:
            return None
        pixels, together = batch
        return _nearest([record for record in same if record.speaks_for(pixels, together)], self.commit)

    def _fullest(self, recipe: Recipe) -> tuple[int, int] | None:
        """Pixels of a picture in the fullest batch, and how many it holds."""
        if self.pictures is None:
            size = buckets.sides(recipe)
            return None if size is None else (size[0] * size[1], int(recipe.number("train_batch_size") or 1))
        found = largest_bucket.fullest(recipe, self.pictures)
        return None if found is None else (found[0].pixels, found[1])


def _nearest(same: Sequence[Measurement], commit: str) -> Measurement | None:
    own = [record for record in same if not record.is_from_elsewhere]
    as_now = [record for record in own if record.sd_scripts_commit == commit]
    return max(as_now or own or same, key=lambda record: record.peak_gib, default=None)


def need(record: Measurement, commit: str) -> MemoryNeed:
    """What a record says of a run."""
    another = (
        "" if record.sd_scripts_commit == commit else f" with sd-scripts {record.sd_scripts or 'of another commit'}"
    )
    source = f"{record.where_and_when}{another}"
    return MemoryNeed(record.peak_gib, record.peak_gib, measured=True, source=source)
