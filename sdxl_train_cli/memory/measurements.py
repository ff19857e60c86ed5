"""Measurements of finished runs: one line per run in the home folder, compared with runs of the same settings."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from pydantic import AwareDatetime, Field, ValidationError, model_validator

from sdxl_train_cli import files
from sdxl_train_cli.dataset import folders, largest_bucket
from sdxl_train_cli.dataset.folders import PictureFile, TrainingPictures
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import Problem
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory import cuda_context, measured_cells, memory_settings, requirement
from sdxl_train_cli.memory.cuda_context import CudaContext
from sdxl_train_cli.memory.memory_settings import MemorySettings
from sdxl_train_cli.memory.requirement import MemoryNeed
from sdxl_train_cli.recipe import Recipe
from sdxl_train_cli.sdscripts import buckets

_SHOWN = 5
_NEARLY = 1.1
"""A measurement of up to this many times the pixels applies to a run, as it is an upper bound."""
_FAST_AT_MOST = 1.07
"""A fast run's memory over a plain one's with gradient checkpointing, the worst that was measured (docs/speed.md)."""
_OF_A_PLAIN_RUN = "what --fast takes was not measured with these settings: counted as at most 7 % more than a plain run"
_ROUNDING_GIB = 0.5
"""Tolerance by which a peak may exceed the GPU: drivers round its size, with or without the reserved part."""


class Measurement(MemorySettings):
    """One measured run: its settings, its memory and its GPU."""

    width: int = Field(ge=1, le=8192)
    """Width of the bucket with the fullest batch, in pixels."""
    height: int = Field(ge=1, le=8192)
    together: int = Field(ge=1, le=4096)
    """Pictures in that batch: fewer than the batch size if the dataset has no more."""
    peak_gib: float = Field(gt=0)
    """Peak GPU memory of the process tree."""
    seconds_per_step: float | None = Field(default=None, gt=0)
    gpu: str = Field(min_length=1)
    gpu_total_gib: float = Field(gt=0, le=2048)
    driver: str
    torch: str
    sd_scripts: str
    """Installed branch or tag."""
    sd_scripts_commit: str
    measured: AwareDatetime
    fast: bool = False
    """Whether it ran with --fast."""
    is_from_elsewhere: bool = False
    """Whether it was imported from somebody else's file."""

    @model_validator(mode="after")
    def _fits_its_gpu(self) -> Measurement:
        if self.peak_gib > self.gpu_total_gib + _ROUNDING_GIB:
            raise ValueError(f"a peak of {self.peak_gib:g} GB on a GPU of {self.gpu_total_gib:g}")
        if self.together > self.batch_size:
            raise ValueError(f"{self.together} pictures in a batch of {self.batch_size}")
        return self

    @property
    def recipe(self) -> Recipe:
        """A recipe with the same memory, for an estimate."""
        return memory_settings.recipe(self, (self.width, self.height), self.together)

    def speaks_for(self, pixels: int, together: int) -> bool:
        """Whether it is a usable upper bound: a batch as full, of pictures as large or slightly larger."""
        return self.together == together and pixels <= self.width * self.height <= _NEARLY * pixels

    @property
    def pictures_per_second(self) -> float | None:
        """How fast it trained. None if it was too short to tell."""
        return None if self.seconds_per_step is None else self.together / self.seconds_per_step

    @property
    def where_and_when(self) -> str:
        """Description of the measurement for a check's message."""
        where = f"elsewhere on the same kind of GPU, {self.gpu}," if self.is_from_elsewhere else "on this machine"
        return f"measured {where} on {self.measured:%Y-%m-%d}"


def from_run(  # noqa: PLR0913, PLR0917 - one argument per fact of the run
    recipe: Recipe,
    pictures: TrainingPictures,
    environment: Environment,
    device: Gpu,
    peak_gib: float,
    seconds_per_step: float | None,
    *,
    fast: bool = False,
) -> Measurement | None:
    """Measurement of a finished run. None if its pictures are gone, or if its values are out of range."""
    found = largest_bucket.fullest(recipe, folders.files(pictures))
    if found is None:
        return None
    bucket, together = found
    recipe = bucket.part.applied(recipe)
    with contextlib.suppress(ValidationError):
        return Measurement(
            **dict(memory_settings.read(recipe)),
            width=bucket.width,
            height=bucket.height,
            together=together,
            peak_gib=round(peak_gib, 3),
            seconds_per_step=None if seconds_per_step is None else round(seconds_per_step, 4),
            fast=fast,
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
    """Append records, each in a single write, so that concurrent runs don't mix. Returns a Problem on failure.

    Failing to store a measurement must not fail a run that has delivered.
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
        message = f"the measured memory could not be saved in {home.measurements}: {error.strerror}"
        return Problem(message, "the run itself is not affected")
    return None


def _ends_whole(file: int) -> bool:
    """Whether the last line is complete: a power cut may have truncated it."""
    size = os.lseek(file, 0, os.SEEK_END)
    if size == 0:
        return True
    os.lseek(file, size - 1, os.SEEK_SET)
    return os.read(file, 1) == b"\n"


def load(home: Home) -> tuple[list[Measurement], list[Problem]]:
    """Every readable record. One Problem lists the unreadable lines, which stay in the file."""
    try:
        lines = files.read_bytes(home.measurements).split(b"\n")
    except FileNotFoundError:
        return [], []
    except OSError as error:
        return [], [Problem(f"{home.measurements} can't be read: {error.strerror}")]
    except ValueError as error:
        return [], [
            Problem(f"{home.measurements} can't be read: {error}", "move it away: the next run starts a new one")
        ]
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
    message = f"{home.measurements}: {which} can't be read and {'are' if len(broken) > 1 else 'is'} skipped"
    return found, [Problem(message, "delete what is broken, or leave it: the other records still count")]


@dataclass(frozen=True)
class MeasuredRuns:
    """Measured runs on one GPU, to look up what a run will take there."""

    found: Sequence[Measurement]
    device: Gpu
    commit: str
    """Commit of the installed sd-scripts."""
    pictures: Sequence[PictureFile] | None = None
    """The dataset. None assumes full batches of the largest pictures that `resolution` allows."""
    context: CudaContext | None = None
    """CUDA's context on this GPU. None takes what is expected of such a GPU."""
    fast: bool = False
    """Whether runs are asked for that use --fast. Without such a record, those of plain ones count."""

    def need(self, recipe: Recipe) -> MemoryNeed:
        """Memory of a run on this GPU: measured here, measured on any GPU, or estimated."""
        context = self.context or cuda_context.expected(self.device.capability)
        own_fast = self._recorded(recipe, context, fast=True) if self.fast else None
        if own_fast is not None:
            return own_fast
        same = measured_cells.like(recipe, fast=True) if self.fast else None
        if same is not None:
            return requirement.of_cell(same, context)
        found = self._recorded(recipe, context, fast=False) or requirement.of_any_gpu(recipe, context)
        if not self.fast:
            return found
        high_gib = round(found.high_gib * _FAST_AT_MOST, 2)
        return replace(found, high_gib=high_gib, measured=False, doubts=(*found.doubts, _OF_A_PLAIN_RUN))

    def _recorded(self, recipe: Recipe, context: CudaContext, *, fast: bool) -> MemoryNeed | None:
        """From a record of the same run, or of one that drew no samples."""
        record = self.like(recipe, fast=fast)
        if record is not None:
            return need(record, self.commit)
        bare = memory_settings.without_samples(recipe)
        record = None if bare is None else self.like(bare, fast=fast)
        return None if record is None else requirement.with_samples(need(record, self.commit), recipe, context)

    def pictures_per_second(self, recipe: Recipe, *, fast: bool) -> float | None:
        """How fast a run with these settings trained on this GPU model. None if none was measured."""
        record = self.like(recipe, fast=fast)
        return None if record is None else record.pictures_per_second

    def like(self, recipe: Recipe, *, fast: bool = False) -> Measurement | None:
        """The highest record with the same settings on this GPU model, preferring own records of this sd-scripts."""
        settings = memory_settings.read_possible(recipe)
        if settings is None:
            return None
        here = [record for record in self.found if record.gpu == self.device.name and record.fast is fast]
        same = [record for record in here if record.is_like(settings)]
        batch = self._fullest(recipe) if same else None
        if batch is None:
            return None
        pixels, together = batch
        return _nearest([record for record in same if record.speaks_for(pixels, together)], self.commit)

    def _fullest(self, recipe: Recipe) -> tuple[int, int] | None:
        """Pixels of a picture in the fullest batch, and the number of pictures in it."""
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
    """A record as a run's memory need."""
    another = (
        "" if record.sd_scripts_commit == commit else f" with sd-scripts {record.sd_scripts or 'of another commit'}"
    )
    source = f"{record.where_and_when}{another}"
    return MemoryNeed(record.peak_gib, record.peak_gib, measured=True, source=source)
