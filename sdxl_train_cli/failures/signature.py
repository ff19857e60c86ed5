"""A signature: how one kind of failure looks in a log, and what to say about it. A row of `signatures/`."""

from __future__ import annotations

from enum import Enum
from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator


class Failure(str, Enum):
    """What failed, for callers that act on it."""

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
    """Which of several matching signatures is the cause."""

    ROOT = "root"
    """Matches anywhere: every later error follows from it."""
    CAUSE = "cause"
    """Matches the last error."""
    STAGE = "stage"
    """Used if the last error is unknown: names what was being done."""
    AFTERMATH = "aftermath"
    """Used only if nothing else matches: how a process died, not why."""


class Signature(BaseModel):
    """One known failure."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Failure
    pattern: str
    """Regular expression. A space in it matches any whitespace, including line breaks."""
    cause: str
    remedy: str
    """What to type or do."""
    source: str
    """Where the wording comes from: a file of sd-scripts, a library, or a thread that quotes it."""
    rank: Rank = Rank.CAUSE
    anywhere: bool = False
    """Match any line. Otherwise only the text of errors."""
    within: str | None = None
    """Regular expression that must match a frame of the traceback, or the error's own text, as well."""
    without: str | None = None
    """Regular expression that must match neither: the same words mean something else there."""
    beside: str | None = None
    """Regular expression that must match another line of the log."""
    taken_apart: Literal["options", "arguments", "config-keys"] | None = None
    """The error lists parts of a command line, an optimizer's argument, or a key of a dataset config. The modules
    `refused_*` tell each of them. Cause and remedy stand in where they can't."""
    sample: str = ""
    """End of a traceback that it explains: the relevant frames and the error. Tests require it."""
    sample_is_whole: bool = False
    """The sample is a complete log."""

    @field_validator("pattern", "within", "without", "beside", mode="before")
    @classmethod
    def _join_alternatives(cls, found: object) -> object:
        """Join alternatives, which a file may list one per line."""
        return "|".join(found) if isinstance(found, list) else found
