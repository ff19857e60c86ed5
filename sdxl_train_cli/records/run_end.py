"""How a run ended: what is sent where it ends, and the last line of `--json`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from sdxl_train_cli import formatting
from sdxl_train_cli.records import history
from sdxl_train_cli.records.history import RunState
from sdxl_train_cli.records.runs import Run


@dataclass(frozen=True)
class RunEnd:
    """A run that is over."""

    run: str
    state: str
    """done, failed or stopped."""
    steps: int | None
    loss: float | None
    seconds: float | None
    """Of the whole run, with all that it took before it was resumed."""
    path: str | None
    """The result of a run that is done."""
    verdict: str | None
    """What was found in the file that was looked at last."""
    cause: str | None
    remedy: str | None
    ended: datetime | None
    seconds_since_resumed: float | None = None
    """Of its last part. None where it was never resumed."""

    @property
    def facts(self) -> Mapping[str, object]:
        """For JSON."""
        found = asdict(self)
        loss = str(self.loss) if self.loss is not None and not math.isfinite(self.loss) else self.loss
        return {**found, "loss": loss, "ended": None if self.ended is None else self.ended.isoformat()}

    @property
    def message(self) -> str:
        """In a line."""
        loss = [] if self.loss is None else [f"loss {self.loss:.4f}"]
        steps = [] if self.steps is None else [formatting.counted(self.steps, "step")]
        since = self.seconds_since_resumed
        part = "" if since is None else f" ({formatting.clock(since)} since it was resumed)"
        spent = [] if self.seconds is None else [f"{formatting.clock(self.seconds)}{part}"]
        told = ", ".join([f"{self.run} is {self.state}", *steps, *spent, *loss])
        return ": ".join(filter(None, [told, self.path or self.cause]))


def of(folder: Path) -> RunEnd | None:
    """How the run in this folder ended. None if it has not."""
    entry = history.load(folder)
    outcome = entry.outcome
    if outcome is None or entry.state not in {RunState.DONE, RunState.FAILED, RunState.STOPPED}:
        return None
    attempts, own = entry.record.attempts, outcome.seconds
    before = attempts[-1].seconds_before if attempts else None
    return RunEnd(
        run=entry.name,
        state=entry.state.value,
        steps=outcome.steps,
        loss=outcome.loss,
        seconds=own if own is None or before is None else round(before + own, 1),
        seconds_since_resumed=None if before is None else own,
        path=str(Run(folder, entry.name).result) if entry.state is RunState.DONE else None,
        verdict=outcome.examined[-1].summary if outcome.examined else None,
        cause=outcome.cause,
        remedy=outcome.remedy,
        ended=outcome.ended,
    )
