"""How one kind of failure shows in a log, and what to tell about it: a row of the tables of failures."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

OS_ERROR = r"\[WinError (?:{0})\]|os error (?:{0})\b|\bcode: (?:{0}),"
"""How Windows' and Linux' numbers are told: by Python, and by safetensors in two ways."""


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


class Rank(int, Enum):
    """Which of several signatures in one log is the cause."""

    ROOT = 0
    """Wherever it stands: whatever is raised after it follows from it."""
    CAUSE = 1
    """What the last error says."""
    STAGE = 2
    """Where the last error's words are not known: what was being done."""
    AFTERMATH = 3
    """Only where nothing else speaks: how a process died, not why."""


@dataclass(frozen=True)
class Signature:
    """One failure that is known."""

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
