"""The end of a run, as every command that trains tells it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sdxl_train_cli.commands import workspace
from sdxl_train_cli.errors import SdxlTrainError
from sdxl_train_cli.ranking import keeping
from sdxl_train_cli.records import run_end
from sdxl_train_cli.records.record import Inputs
from sdxl_train_cli.records.run_end import RunEnd
from sdxl_train_cli.run import notifying
from sdxl_train_cli.run.training import RunResult
from sdxl_train_cli.ui import console, printing


class FollowedRun:
    """A run from its start to what is told of its end."""

    def __init__(self, folder: Path, *, as_json: bool) -> None:
        self._notify = workspace.config().notify  # an invalid config is refused before the run, not after it
        self._as_json = as_json
        self._before = run_end.of(folder)
        self.folder = folder
        """Where it is. A run that starts again with less memory moves."""

    def carry_out(self, action: Callable[[], RunResult], then: Callable[[RunResult], Sequence[str]]) -> None:
        """Carry out the run, tell how it ended, and what comes next. Raises what the action raises."""
        try:
            outcome = action()
        except SdxlTrainError as error:
            end = self._told()
            error.facts = {} if end is None else end.facts
            raise
        end, lines = self._told(), then(outcome)
        console.finished(outcome, lines, is_told_as_json=self._as_json)
        if self._as_json:
            facts = {**end.facts} if end is not None else {"path": str(outcome.result)}
            printing.data({"event": "result", **facts, "next": list(lines)}, indent=None)

    def _told(self) -> RunEnd | None:
        """The end of the run, after it was told where the user wants it. None if it never began."""
        end = run_end.of(self.folder)
        if end is None or end == self._before:
            return None
        problem = None if self._notify is None else notifying.send(self._notify, end)
        if problem is not None:
            console.warn(problem)
        return end


def kept_lines(inputs: Inputs | None, outcome: RunResult) -> list[str]:
    """Delete the clearly worse checkpoints of a run that is done, where that is wanted, and what to tell of it."""
    if inputs is None or not inputs.keep_best:
        return []
    try:
        return keeping.keep_best(outcome.result.parent).lines
    except SdxlTrainError as error:
        return [f"--keep-best deleted nothing: {error.problems[0].message}"]
