"""The files in a run's folder as they are written and read: one shape for both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FieldSerializationInfo,
    SerializeAsAny,
    field_serializer,
)

from sdxl_train_cli.recipe import Kind, Recipe, Setting, Value
from sdxl_train_cli.sdscripts.base_model import Prediction

RUN = "run.json"
"""What was run with what; written before the start."""
OUTCOME = "outcome.json"
"""How it ended; absent while it runs, and where it was cut off."""
RUNNING = "running.json"
"""Who watches it; there while it runs."""
LOCK = "running.lock"
"""Locked by who watches it; an empty file that stays."""
METRICS = "metrics.jsonl"
"""One line for each step."""
LOG = "train.log"
"""All that the trainer printed."""
REPORT = "report.html"
"""The run as one page, where nothing else was asked for."""
DATASET = "dataset.json"
"""The `--dataset_config` of sd-scripts."""
EVENTS = "logs"
"""TensorBoard's events, a folder."""

_FORBIDDEN = set('<>:"/\\|?*')
LONGEST_NAME = 120
"""Bytes: sd-scripts adds up to 30 for its step files, and file systems end at 255."""
_FIRST_YEAR, _LAST_YEAR = 1970, 9000
_MOST = 10**15
"""Above every count that a run can have, and far below what a float loses digits at or a clock can't tell."""
_LARGEST_INTEGER = 10**40


def name_problem(name: str, most: int = LONGEST_NAME) -> str | None:
    """Why a run can't have this name, whose files begin with it; None where it can."""
    if not name.strip() or name.strip(".") == "":
        return "it is empty"
    odd = sorted({char for char in name if char in _FORBIDDEN or not char.isprintable()})
    if odd:
        return f"it holds {' '.join(repr(char) for char in odd[:5])}"
    size = len(name.encode())
    return f"it is {size} bytes long, and the limit is {most}" if size > most else None


def _file_name(name: str) -> str:
    """A run's own files are found and written by its name: one with folders in it would lead out of the run's."""
    problem = name_problem(name, 2 * LONGEST_NAME)
    if problem:
        raise ValueError(problem)
    return name


def _of_our_time(when: datetime) -> datetime:
    if not _FIRST_YEAR <= when.year <= _LAST_YEAR:
        raise ValueError("no run can have this date")
    return when


def _not_endless(value: Value) -> Value:
    parts = value if isinstance(value, tuple) else (value,)
    if any(isinstance(part, int) and abs(part) > _LARGEST_INTEGER for part in parts):
        raise ValueError("no option takes a number with that many digits")
    return value


def _of_usual_size(setting: Setting) -> Setting:
    _not_endless(setting.value)
    return setting


Name = Annotated[str, AfterValidator(_file_name)]
Moment = Annotated[datetime, AfterValidator(_of_our_time)]
Given = Annotated[Value, AfterValidator(_not_endless)]
Count = Annotated[int, Field(ge=0, le=_MOST)]
Amount = Annotated[float, Field(ge=0, le=_MOST, allow_inf_nan=False)]
Code = Annotated[int, Field(ge=-_MOST, le=_MOST)]


class _RecordModel(BaseModel):
    """Older runs lack what newer ones tell, and may have more: absent is None, unknown is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")


@dataclass(frozen=True)
class Inputs:
    """What a person chose; records have it in absolute paths, so that the same can be chosen again from any folder.

    Checked where it is read from a record.
    """

    preset: str
    """Name or file."""
    model: str
    """A path, or a hub id."""
    data: Path
    output: Path
    vae: str | None = None
    regularisation: Path | None = None
    trigger: str | None = None
    repeats: Count | None = None
    gpu_index: Count | None = None
    """None takes the GPU with the most free memory."""
    on_processor: bool = False
    """Trains without a GPU, as the smoke does."""
    check_vram: bool = True
    shim: Path | None = None
    """A script of ours that runs sd-scripts' own scaled down (the smoke); of a recorded path, the name alone counts."""
    fast: bool = False
    """Through inside/fast.py, which trains the same in less time."""
    prediction: Prediction | None = None
    """What the base was said to predict; None leaves it to its header."""
    tokenizers: Path | None = None
    """Where the CLIP tokenizers are, if not in the home folder."""


class Folder(_RecordModel):
    """One folder of pictures."""

    path: str
    pictures: Count
    repeats: Count
    class_tokens: str | None = None
    is_reg: bool = False


class Dataset(_RecordModel):
    """What was trained on."""

    fingerprint: str
    """SHA-256 over names, sizes and captions."""
    folders: tuple[Folder, ...] = ()


class Device(_RecordModel):
    """The GPU that was chosen."""

    index: Count
    name: str
    total_gib: Amount | None = None
    driver: str | None = None


class Installed(_RecordModel):
    """The training side as it was, as far as it is read."""

    ref: str | None = None
    commit: str | None = None
    python: str | None = None
    packages: Mapping[str, str] = {}


class WholeInstalled(Installed):
    """The same with all else that setup has noted, which is written too."""

    model_config = ConfigDict(extra="allow")


class Attempt(_RecordModel):
    """One more start of the same run."""

    started: Moment | None = None
    from_step: Count | None = None
    changed: Mapping[str, Given] = {}
    """Options that it took in place of what the run began with: memory had run out."""
    argv: tuple[str, ...] = ()


class RunHeading(_RecordModel):
    """What a list shows of `run.json`: in a thousand of them, the rest would be felt."""

    sdxl_train: str
    """Our version; without it, the file is not ours."""
    kind: str | None = None
    preset: str | None = None
    name: Name | None = None
    started: Moment | None = None
    pictures: Count | None = None


class Record(RunHeading):
    """`run.json`."""

    settings: Mapping[str, Annotated[Setting, AfterValidator(_of_usual_size)]] = {}
    dataset: Dataset | None = None
    inputs: Inputs | None = None
    argv: tuple[str, ...] = ()
    environment: SerializeAsAny[Installed] | None = None
    gpu: Device | None = None
    attempts: tuple[Attempt, ...] = ()

    @property
    def recipe(self) -> Recipe | None:
        """What it was made with, each value with its origin; None where its kind is none that is known here."""
        if self.kind not in [kind.value for kind in Kind]:
            return None
        return Recipe(kind=Kind(self.kind), name=self.preset or "", description="", settings=self.settings)


class Outcome(_RecordModel):
    """`outcome.json`."""

    outcome: str
    steps: Count | None = None
    seconds: Amount | None = None
    loss: float | None = None
    cause: str | None = None
    remedy: str | None = None
    note: str | None = None
    """What else happened, to a run that is done."""
    exit_code: Code | None = None
    peak_gib: Amount | None = None
    seconds_per_step: Amount | None = None
    ended: Moment | None = None

    @field_serializer("loss")
    def _write_loss(self, loss: float | None, info: FieldSerializationInfo) -> float | str | None:
        """JSON has no NaN and no infinity: in the file they are text."""
        is_text = info.mode == "python" and loss is not None and not math.isfinite(loss)
        return str(loss) if is_text else loss


class Supervisor(_RecordModel):
    """`running.json`: the process that watches, told from a later one of the same number by when it began.

    Older records hold `pid` and `created` alone.
    """

    pid: Annotated[int, Field(gt=0, lt=1 << 31)]
    created: float | None = None
    """Seconds since 1970: another figure after the clock was set."""
    host: str | None = None
    """The computer's name."""
    boot: str | None = None
    """Which start of the computer, where it tells (Linux)."""
    ticks: Annotated[int, Field(ge=0, lt=1 << 63)] | None = None
    """When the process began, in clock ticks since that start."""
    space: str | None = None
    """Which processes the number counts: a container has numbers of its own."""
    locked: bool = False
    """Whether the lock beside it is held while it lives; some network drives know no locks."""
