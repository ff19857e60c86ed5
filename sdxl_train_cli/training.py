"""Watch one run to its end: done, failed with cause and remedy, or stopped with the last checkpoint kept."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli import checkpoint, diagnosis, process, progress, runs, signals
from sdxl_train_cli.errors import ModelError, Problem, SdxlTrainError, TrainingError
from sdxl_train_cli.progress import Event, Finished, NoData, Step
from sdxl_train_cli.runs import Run

LAST_LINES = 400
"""Lines of output that a diagnosis looks at."""

OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class Outcome:
    """A run that delivered."""

    result: Path
    steps: int
    seconds: float
    loss: float | None


class StoppedError(SdxlTrainError):
    """A signal ended the run; the exit code is 128 and the signal's number."""

    def __init__(self, problem: Problem, signum: int) -> None:
        super().__init__(problem)
        self.exit_code = 128 + signum


class _Story:
    """What the output has told so far."""

    def __init__(self) -> None:
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self.step: Step | None = None
        self.finished = False
        self.no_data = False

    def hear(self, line: str) -> list[Event]:
        step, words = progress.split(line)
        if step is not None:
            self.step = step
        if words.strip():
            self.last_lines.append(words)
        event = progress.parse(words)
        self.finished |= isinstance(event, Finished)
        self.no_data |= isinstance(event, NoData)
        return [heard for heard in (step, event) if heard is not None]

    def position(self) -> str:
        return f"at step {self.step.step} of {self.step.steps}" if self.step else "before the first step"


def watch(run: Run, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], on_event: OnEvent) -> Outcome:
    """Start the trainer and follow it; blocks until it has ended, and leaves none of its processes behind.

    Raises TrainingError with the cause, StoppedError on Ctrl-C and SIGTERM. Done means: exit code 0, the trainer's
    own last word, and the whole file there. sd-scripts ends with 0 also when it has found nothing to train on.
    """
    started = time.monotonic()
    story = _Story()
    # Unbuffered: whatever ends us, the log holds the trainer's last words.
    with run.log.open("wb", buffering=0) as log, process.Child(argv, cwd=cwd, env=env) as child:
        try:
            for line in child.lines(log):
                for event in story.hear(line or ""):
                    on_event(event)
            code = child.wait()
        except signals.Stopped as stop:
            child.stop()
            raise _stopped(run, story, stop.signum) from None
    problem = _problem(run, story, code)
    if problem is not None:
        _set_aside_broken(run)
        runs.write_outcome(run, {"outcome": "failed", "exit_code": code, "cause": problem.message})
        raise TrainingError(problem)
    outcome = Outcome(run.result, story.step.step if story.step else 0, time.monotonic() - started, _loss(story))
    runs.write_outcome(run, {"outcome": "done", "steps": outcome.steps, "seconds": round(outcome.seconds, 1)})
    return outcome


def _loss(story: _Story) -> float | None:
    return story.step.loss if story.step else None


def _problem(run: Run, story: _Story, code: int) -> Problem | None:
    lines = list(story.last_lines)
    if code != 0 or story.no_data or not story.finished:
        return _failure(run, story, code, diagnosis.explain(lines), diagnosis.last_words(lines))
    try:
        checkpoint.read_header(run.result)
    except ModelError as error:
        return Problem(f"the trainer said it was done, but {error}", f"the whole output: {run.log}")
    loss = _loss(story)
    if loss is not None and not math.isfinite(loss):
        return Problem(
            "the loss is not a number: the trained file is worthless",
            "lower the learning rate, or use --set mixed_precision=bf16 and --set no_half_vae=true",
        )
    return None


def _failure(run: Run, story: _Story, code: int, known: diagnosis.Diagnosis | None, last_words: str | None) -> Problem:
    where = f"training failed {story.position()}"
    if known is not None:
        return Problem(f"{where}: {known.cause}", f"{known.remedy}\nthe whole output: {run.log}")
    why = last_words or (f"exit code {code}" if code else "the trainer ended early and gave no reason")
    return Problem(f"{where}: {why}", f"the whole output: {run.log}")


def _stopped(run: Run, story: _Story, signum: int) -> StoppedError:
    _set_aside_broken(run)
    kept = sorted(run.folder.glob("*.safetensors"), key=lambda path: path.stat().st_mtime)
    runs.write_outcome(run, {"outcome": "stopped", "steps": story.step.step if story.step else 0})
    hint = f"the last checkpoint: {kept[-1]}" if kept else "no checkpoint was saved yet"
    return StoppedError(Problem(f"stopped {story.position()}", hint), signum)


def _set_aside_broken(run: Run) -> None:
    """Rename checkpoints that were cut off while being written, so that nobody takes one for whole."""
    for path in run.folder.glob("*.safetensors"):
        try:
            checkpoint.read_header(path)
        except ModelError:
            path.replace(path.with_name(path.name + ".incomplete"))
