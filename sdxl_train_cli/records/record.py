"""Models of the files in a run's folder, for reading and writing."""

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
"""The run's settings and inputs. Written before the start."""
OUTCOME = "outcome.json"
"""How the run ended. Absent while it runs, and if it was cut off."""
RUNNING = "running.json"
"""The supervising process. Present while the run is active."""
STOP_ASKED = "stop-asked"
"""Asks several processes that train together to save a state and end (inside/saving.py)."""
LOCK = "running.lock"
"""Locked by the supervising process. The empty file remains."""
METRICS = "metrics.jsonl"
"""One line per step."""
LOG = "train.log"
"""The trainer's full output."""
REPORT = "report.html"
"""Default name of the run's web page."""
BEST = "best.html"
"""Default name of the page of its best checkpoint."""
DATASET = "dataset.json"
"""The `--dataset_config` of sd-scripts."""
PROMPTS = "prompts.txt"
"""Prompts of sample pictures, where they are not a file of the user's."""
GRID = "grid"
"""Folder of these pictures."""
EVENTS = "logs"
"""Folder of TensorBoard's event files."""

_FORBIDDEN = set('<>:"/\\|?*')
LONGEST_NAME = 120
"""Limit in bytes: sd-scripts appends up to 30 for its step files, and file systems allow 255."""
_FIRST_YEAR, _LAST_YEAR = 1970, 9000
_MOST = 10**15
"""Upper limit for counts: above any real one, below the limits of float precision and of timestamps."""
_LARGEST_INTEGER = 10**40


def name_problem(name: str, most: int = LONGEST_NAME) -> str | None:
    """Why a run can't have this name, which prefixes its files. None if it can."""
    if not name.strip() or name.strip(".") == "":
        return "it is empty"
    odd = sorted({char for char in name if char in _FORBIDDEN or not char.isprintable()})
    if odd:
        return f"it holds {' '.join(repr(char) for char in odd[:5])}"
    size = len(name.encode())
    return f"it is {size} bytes long, and the limit is {most}" if size > most else None


def _file_name(name: str) -> str:
    """The run's files are found and written by its name. A name with folders would leave the run's folder."""
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
    """Base of records. Older runs lack newer fields, and newer ones have more: absent is None, unknown is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")


@dataclass(frozen=True)
class Inputs:
    """The user's choices, with absolute paths so that they can be repeated from any folder.

    Validated when read from a record.
    """

    preset: str
    """Name or file."""
    model: str
    """Path or hub ID."""
    data: Path
    output: Path
    vae: str | None = None
    regularisation: Path | None = None
    trigger: str | None = None
    repeats: Count | None = None
    gpu_index: Count | None = None
    """None uses the GPU with the most free memory."""
    gpu_indices: tuple[Count, ...] = ()
    """The GPUs that were named, where they are several."""
    processes: Annotated[int, Field(ge=1, le=_MOST)] = 1
    """How many train together on each node, one on each GPU."""
    on_processor: bool = False
    """Train without a GPU, as the smoke test does."""
    check_vram: bool = True
    shim: Path | None = None
    """Our script that runs sd-scripts' own scaled down (the smoke test). Only the name of a recorded path counts."""
    fast: bool = False
    """Run through inside/fast.py, which trains the same in less time."""
    prediction: Prediction | None = None
    """What the base was said to predict; None leaves it to its header."""
    samples: tuple[str, ...] | None = None
    """Prompts of sample pictures; none wants none, and None leaves them to us."""
    validation: float | None = None
    """Share of the pictures to validate on; 0 wants none, and None leaves it to us."""
    keep_best: bool = False
    """Delete clearly worse checkpoints once the run is done."""
    tokenizers: Path | None = None
    """Folder of the CLIP tokenizers, if not in the home folder."""
    job: str | None = None
    """The queue's or cluster's job that the run belongs to."""
    nodes: Annotated[int, Field(ge=1, le=_MOST)] = 1
    """Nodes of a cluster that train together."""
    saves_on_stop: bool = False
    """Save a state when asked to stop (inside/saving.py), as a cluster does before it takes the node."""

    @property
    def all_processes(self) -> int:
        """Processes that train together, on all nodes."""
        return self.processes * self.nodes


class Folder(_RecordModel):
    """One folder of pictures."""

    path: str
    pictures: Count
    repeats: Count
    class_tokens: str | None = None
    is_reg: bool = False


class Dataset(_RecordModel):
    """The training data."""

    fingerprint: str
    """SHA-256 over names, sizes and captions."""
    folders: tuple[Folder, ...] = ()


class Device(_RecordModel):
    """The selected GPU."""

    index: Count
    name: str
    total_gib: Amount | None = None
    driver: str | None = None


class Installed(_RecordModel):
    """The training environment, as far as it is read."""

    ref: str | None = None
    commit: str | None = None
    python: str | None = None
    packages: Mapping[str, str] = {}


class WholeInstalled(Installed):
    """The training environment with everything that setup recorded, for writing."""

    model_config = ConfigDict(extra="allow")


class Attempt(_RecordModel):
    """One further start of the same run."""

    started: Moment | None = None
    from_step: Count | None = None
    changed: Mapping[str, Given] = {}
    """Options that replaced the run's original ones after memory ran out."""
    argv: tuple[str, ...] = ()
    seconds_before: Amount | None = None
    """What all earlier starts took."""


class RunHeading(_RecordModel):
    """The part of `run.json` that a list shows. Reading the rest would be slow for a thousand runs."""

    sdxl_train: str
    """Our version. Without it, the file is not ours."""
    kind: str | None = None
    preset: str | None = None
    name: Name | None = None
    started: Moment | None = None
    pictures: Count | None = None


class Record(RunHeading):
    """Contents of `run.json`."""

    settings: Mapping[str, Annotated[Setting, AfterValidator(_of_usual_size)]] = {}
    dataset: Dataset | None = None
    inputs: Inputs | None = None
    argv: tuple[str, ...] = ()
    environment: SerializeAsAny[Installed] | None = None
    gpu: Device | None = None
    attempts: tuple[Attempt, ...] = ()

    @property
    def recipe(self) -> Recipe | None:
        """The recipe with origins. None for an unknown kind."""
        if self.kind not in [kind.value for kind in Kind]:
            return None
        name, processes = self.preset or "", 1 if self.inputs is None else self.inputs.all_processes
        kind, settings = Kind(self.kind), self.settings
        return Recipe(kind=kind, name=name, description="", settings=settings, processes=processes)


class ExaminationFinding(_RecordModel):
    """One thing that is wrong with a trained file."""

    trouble: str
    """Its kind, by the name that inspection/verdict.py gives it."""
    message: str
    hint: str | None = None
    is_fatal: bool = False
    """Whether the file is of no use."""


class Examination(_RecordModel):
    """What was found in one file of the run."""

    file: str
    step: Count | None = None
    summary: str
    findings: tuple[ExaminationFinding, ...] = ()


class Outcome(_RecordModel):
    """Contents of `outcome.json`."""

    outcome: str
    steps: Count | None = None
    seconds: Amount | None = None
    loss: float | None = None
    cause: str | None = None
    remedy: str | None = None
    note: str | None = None
    """Incidents of a run that finished."""
    pruned: str | None = None
    """Why its sweep stopped it early."""
    exit_code: Code | None = None
    peak_gib: Amount | None = None
    seconds_per_step: Amount | None = None
    examined: tuple[Examination, ...] = ()
    """What was found in the first checkpoint, and in the result, which is the last."""
    ended: Moment | None = None

    @field_serializer("loss")
    def _write_loss(self, loss: float | None, info: FieldSerializationInfo) -> float | str | None:
        """Write NaN and infinity as text, as JSON has neither."""
        is_text = info.mode == "python" and loss is not None and not math.isfinite(loss)
        return str(loss) if is_text else loss


class Supervisor(_RecordModel):
    """Contents of `running.json`: the supervising process, told from a later one with the same ID by its start time.

    Older records contain only `pid` and `created`.
    """

    pid: Annotated[int, Field(gt=0, lt=1 << 31)]
    created: float | None = None
    """Seconds since 1970. It shifts when the clock is set."""
    host: str | None = None
    """The computer's name."""
    boot: str | None = None
    """Boot ID, if the system has one (Linux)."""
    ticks: Annotated[int, Field(ge=0, lt=1 << 63)] | None = None
    """Process start in clock ticks since boot."""
    space: str | None = None
    """PID namespace: a container numbers its own processes."""
    locked: bool = False
    """Whether the lock beside it is held. Some network drives support no locks."""
    slurm: str | None = None
    """The job of Slurm that it runs in."""
    marks: Annotated[str, Field(pattern=r"^\d+-\d+-$")] | None = None
    """What the marks of its commands begin with (process_family), by which a trainer is found that has outlived it."""
