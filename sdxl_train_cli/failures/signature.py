"""How one kind of failure shows in a log, and what to tell about it: a row of the files in `signatures/`."""

from __future__ import annotations

from enum import Enum

from pydantic import BaseModel, ConfigDict, field_validator


class Failure(str, Enum):
    """What failed, for a caller who does something about it."""

    GPU_MEMORY = "gpu-memory"
    HOST_MEMORY = "host-memory"
    NOT_A_NUMBER = "not-a-number"
    GPU = "gpu"
    SYSTEM = "system"
    PACKAGES = "packages"
    MODEL = "model"
    HUB = "hub"
    DATA = "data"
    SETTINGS = "settings"
    RESUME = "resume"
    STOPPED = "stopped"


class Rank(str, Enum):
    """Which of several signatures in one log is the cause."""

    ROOT = "root"
    """Wherever it stands: whatever is raised after it follows from it."""
    CAUSE = "cause"
    """What the last error says."""
    STAGE = "stage"
    """Where the last error's words are not known: what was being done."""
    AFTERMATH = "aftermath"
    """Only where nothing else speaks: how a process died, not why."""


class Signature(BaseModel):
    """One failure that is known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Failure
    pattern: str
    """A regular expression; a blank in it stands for any space, a line's end among them."""
    cause: str
    remedy: str
    """What to type or do."""
    source: str
    """Where the words come from: a file of sd-scripts, a library, or a thread that shows them."""
    rank: Rank = Rank.CAUSE
    anywhere: bool = False
    """Counts in any line; otherwise in the words of an error alone."""
    within: str | None = None
    """What a frame of the traceback has to hold besides."""
    sample: str = ""
    """The end of a traceback that it explains: the frames that count, and the error. A test fails for a row without."""
    sample_is_whole: bool = False
    """The sample is a whole log instead."""

    @field_validator("pattern", mode="before")
    @classmethod
    def _join_alternatives(cls, found: object) -> object:
        """A file may list the pattern's alternatives, one a line."""
        return "|".join(found) if isinstance(found, list) else found
