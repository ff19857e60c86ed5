"""The files in a run's folder as they are written and read: one shape for both."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sdxl_train_cli.recipe import Kind, Recipe, Value
from sdxl_train_cli.recipe import Setting as Chosen

RUN = "run.json"
"""What was run with what; written before the start."""
OUTCOME = "outcome.json"
"""How it ended; absent while it runs, and where it was cut off."""
RUNNING = "running.json"
"""Who watches it; there while it runs."""
METRICS = "metrics.jsonl"
"""One line for each step."""


class _Kept(BaseModel):
    """Older runs lack what newer ones tell, and may have more: absent is None, unknown is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")


class Inputs(_Kept):
    """What a person chose, in absolute paths, so that the same can be chosen again from any folder."""

    preset: str
    """Name or file."""
    model: str
    """A path, or a hub id."""
    data: Path
    output: Path
    vae: str | None = None
    regularisation: Path | None = None
    trigger: str | None = None
    repeats: int | None = None
    gpu_index: int | None = None
    """None took the freest GPU."""
    on_processor: bool = False
    check_vram: bool = True
    shim: Path | None = None
    tokenizers: Path | None = None


class Folder(_Kept):
    """One folder of pictures."""

    path: str
    pictures: int
    repeats: int
    class_tokens: str | None = None
    is_reg: bool = False


class Dataset(_Kept):
    """What was trained on."""

    fingerprint: str
    """SHA-256 over names, sizes and captions."""
    folders: tuple[Folder, ...] = ()


class Device(_Kept):
    """The GPU that was chosen."""

    index: int
    name: str
    total_gib: float | None = None
    driver: str | None = None


class Installed(_Kept):
    """The training side as it was."""

    ref: str | None = None
    commit: str | None = None
    python: str | None = None
    packages: Mapping[str, str] = {}


class Setting(_Kept):
    """One option's value and where it was set."""

    value: Value
    origin: str = ""


class Attempt(_Kept):
    """One more start of the same run."""

    started: datetime | None = None
    from_step: int | None = None
    changed: Mapping[str, Value] = {}
    """Options that it took in place of what the run began with: memory had run out."""
    argv: tuple[str, ...] = ()


class Heading(_Kept):
    """What a list shows of `run.json`: in a thousand of them, the rest would be felt."""

    sdxl_train: str
    """Our version; without it, the file is not ours."""
    kind: str | None = None
    preset: str | None = None
    name: str | None = None
    started: datetime | None = None
    pictures: int | None = None


class Record(Heading):
    """`run.json`."""

    settings: Mapping[str, Setting] = {}
    dataset: Dataset | None = None
    inputs: Inputs | None = None
    argv: tuple[str, ...] = ()
    environment: Installed | None = None
    gpu: Device | None = None
    attempts: tuple[Attempt, ...] = ()

    @property
    def recipe(self) -> Recipe | None:
        """What it was made with, each value with its origin; None where its kind is none that is known here."""
        if self.kind not in [kind.value for kind in Kind]:
            return None
        chosen = {name: Chosen(value=each.value, origin=each.origin) for name, each in self.settings.items()}
        return Recipe(kind=Kind(self.kind), name=self.preset or "", description="", settings=chosen)


class Outcome(_Kept):
    """`outcome.json`."""

    outcome: str
    steps: int | None = None
    seconds: float | None = None
    loss: float | None = None
    cause: str | None = None
    remedy: str | None = None
    exit_code: int | None = None
    peak_gib: float | None = None
    ended: datetime | None = None


class Supervisor(_Kept):
    """`running.json`: a process, told from a later one of the same number by when it began."""

    pid: int
    created: float
    """Seconds since 1970, as psutil tells it."""
