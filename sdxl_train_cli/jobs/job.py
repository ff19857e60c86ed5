"""One training of the queue, and its states."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path


class JobState(str, Enum):
    """State of a job."""

    WAITING = "waiting"
    RUNNING = "running"
    HANDING_OVER = "handing over"
    """A cluster is being given it. No worker starts it; what is cut off is settled by the next `queue start`."""
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    """The user stopped it. It waits for `queue retry`."""

    @property
    def has_ended(self) -> bool:
        """Whether the queue is through with it."""
        return self not in {JobState.WAITING, JobState.RUNNING, JobState.HANDING_OVER}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training of the queue."""

    id: int
    name: str
    """Name that its run gets, numbered if there is one already."""
    kind: str
    preset: str
    state: JobState
    position: int
    """Jobs start in this order."""
    token: str
    """Written into its run's record, so that a run of another job is never resumed."""
    added: datetime
    gpus: int = 1
    """How many it needs at once."""
    gpu_indices: tuple[int, ...] = ()
    """The only GPUs that it may use, as many as it needs. Empty for any."""
    need_gib: float | None = None
    """Memory that it was expected to need on each GPU when it was added, the upper end. None on a processor."""
    starts: int = 0
    """How often it was started. A process that was started for an earlier one must not go on."""
    cut_offs: int = 0
    """How often it was cut off in a row without a further step."""
    devices: tuple[int, ...] = ()
    """The GPUs on which it runs or ran last. Empty for the processor."""
    folder: Path | None = None
    """Its run's folder, noted before it is created."""
    steps: int = 0
    """The furthest step that a cut-off start has reached."""
    started: datetime | None = None
    ended: datetime | None = None
    exit_code: int | None = None
    cause: str | None = None
    """Why it failed."""
    is_to_stop: bool = False
    """Whether the user has asked to stop it."""

    @property
    def run_name(self) -> str:
        """Name of its run; its own name before it has one."""
        return self.name if self.folder is None else self.folder.name

    @property
    def words(self) -> str:
        """How messages name it."""
        return f"job {self.id} ({self.run_name})"


def new_token() -> str:
    """A token that no other job has."""
    return secrets.token_hex(8)


@dataclass(frozen=True)
class KeptResume:
    """How a run is to be resumed, as it was asked for."""

    steps: int | None = None
    """New total length. None keeps the old one."""
    force: bool = False
    check_vram: bool = True


@dataclass(frozen=True)
class Waiting:
    """What a job is made of."""

    name: str
    kind: str
    preset: str
    record: str
    """JSON of the record that its run would have had if it had started at once."""
    guards_off: tuple[str, ...] = ()
    step_downs: int = 0
    gpus: int = 1
    gpu_indices: tuple[int, ...] = ()
    need_gib: float | None = None
    token: str = field(default_factory=new_token)
    """Written into its run's record. A sweep knows its points by it."""
    run: Path | None = None
    """The run that it has already, which it goes on with."""
    resume: KeptResume | None = None
    """How to resume that run, whatever its state. None resumes what was cut off."""
    search: str = ""
    """The sweep whose search chooses the settings when it starts: the record is what they are added to."""

    @property
    def is_for_cluster(self) -> bool:
        """Whether a cluster alone can carry it out: this computer's queue keeps none of its last three facts."""
        return self.run is not None or self.resume is not None or self.search != ""
