"""Watch one run to its end: done, failed with cause and remedy, or stopped with the last checkpoint kept."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from sdxl_train_cli import files, formatting, process, signals
from sdxl_train_cli.errors import GpuMemoryError, ModelError, Problem, SdxlTrainError, TrainingError
from sdxl_train_cli.failures import diagnosis, remedies
from sdxl_train_cli.failures.signature import Failure
from sdxl_train_cli.records import runs
from sdxl_train_cli.records.record import Examination, Outcome
from sdxl_train_cli.records.runs import Run
from sdxl_train_cli.run import examination
from sdxl_train_cli.run.examination import LAST_SECONDS, Examiner, FirstCheckpoint
from sdxl_train_cli.run.supervision import Conditions, Event, Supervision
from sdxl_train_cli.sdscripts import checkpoint, results, states
from sdxl_train_cli.sdscripts.progress import SAVING_STATE, CheckpointSaving, Stopping

LEAST_PATIENCE_SECONDS, MOST_PATIENCE_SECONDS = 10.0, 120.0
"""Limits of the time that a stop waits for the current step to end: three steps' time, within these."""
SAVING_SECONDS = 240.0
"""For the state of a run whose time ends: of the 300 that Slurm gives, a minute is left to end (cluster/script.py)."""

_LAST_WORDS_SECONDS = 5.0

OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class RunResult:
    """Result of a successful run."""

    result: Path
    steps: int
    seconds: float
    loss: float | None
    peak_gib: float | None = None
    """Peak GPU memory of the run's processes."""
    seconds_per_step: float | None = None
    """Median of the last steps."""
    found: str | None = None
    """What was found in the file, in a line. None if it could not be looked at."""
    from_step: int = 0
    """Where it was resumed; `seconds` are those since."""


class StoppedError(SdxlTrainError):
    """A signal stopped the run. The exit code is 128 plus the signal's number."""

    def __init__(self, problem: Problem, signum: int) -> None:
        super().__init__(problem)
        self.exit_code = 128 + signum


class PrunedError(SdxlTrainError):
    """The run was stopped early, though nothing was wrong with it: its sweep has better ones."""

    exit_code = 0


def watch(  # noqa: PLR0913 - keyword-only, each is one fact of the launch
    run: Run,
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    on_event: OnEvent,
    conditions: Conditions = Conditions(),  # noqa: B008 - the default is frozen
    examiner: Examiner | None = None,
    begin: Callable[[], None] = lambda: None,
) -> RunResult:
    """Start the trainer and watch it. Blocks until it has ended, and leaves none of its processes behind.

    `begin` is called first, while the run is locked, so that nobody else writes to it meanwhile.

    `examiner` says how the files are looked at. None if that can't be done here.

    Raises UsageError if another process has the run, TrainingError with the cause, StoppedError on Ctrl-C and SIGTERM.
    Success requires the trainer's final message, and a complete file that is of use. The exit code is not enough:
    sd-scripts also exits with 0 after it trained nothing, and a launcher may be killed while its trainer keeps running.
    """
    with runs.running(run) as lock:
        begin()
        first = FirstCheckpoint(run, examiner)
        return _watch(run, argv, first, cwd=cwd, env=env, on_event=on_event, conditions=conditions, lock=lock)


def _watch(  # noqa: PLR0913 - as above
    run: Run,
    argv: Sequence[str],
    first: FirstCheckpoint,
    *,
    cwd: Path,
    env: Mapping[str, str],
    on_event: OnEvent,
    conditions: Conditions,
    lock: int | None,
) -> RunResult:
    """Follow the trainer, look at what it has left, and write down how it ended."""
    started = time.monotonic()
    run.stop_asked.unlink(missing_ok=True)
    # Unbuffered, so that the log contains the trainer's last output however we end.
    with (
        run.log.open("ab", buffering=0) as log,
        process.Child(argv, cwd=cwd, env=env, held=lock) as child,
        Supervision(run, conditions, child.pid, child.activity) as supervision,
    ):
        try:
            code = _follow(child, supervision, first, log, on_event)
            if supervision.pruned is not None and _let_step_end(child, supervision, log, on_event):
                supervision.pruned, code = None, child.wait()  # it was at its end
        except signals.Stopped as stop:
            if conditions.saves_on_stop:
                _ask_to_save(run, conditions, child)
            ended = _let_step_end(child, supervision, log, on_event, saves=conditions.saves_on_stop)
            child.stop()
            run.stop_asked.unlink(missing_ok=True)
            if not ended:
                _take_last_words(child, supervision, log, on_event)
            if not (ended and supervision.finished):
                raise _stopped(run, supervision, first, stop.signum, started) from None
            code = child.wait()
        if supervision.pruned is not None:
            child.stop()
            raise _pruned(run, supervision, first, supervision.pruned, started)
        for event in chain(supervision.close(), first.close(LAST_SECONDS)):
            on_event(event)
    error = _error(run, supervision, code)
    examined = list(first.found)
    if error is None and first.examiner is not None:
        examined.append(examination.examine_result(first.examiner, run, _steps(supervision)))
        on_event(examination.as_event(examined[-1], is_result=True))
        error = no_use(run, examined[-1])
    if error is not None:
        problem = error.problems[0]
        _set_aside_broken(run)
        facts = {"exit_code": code, "cause": problem.message, "remedy": problem.hint, "examined": tuple(examined)}
        runs.write_outcome(run, _outcome("failed", supervision, started).model_copy(update=facts))
        raise error
    states.prune(run.folder, run.name)
    odd = {"exit_code": code, "note": _odd_end(code)} if code else {}
    odd |= {"examined": tuple(examined)}
    runs.write_outcome(run, _outcome("done", supervision, started).model_copy(update=odd))
    return RunResult(
        run.result,
        _steps(supervision),
        time.monotonic() - started,
        supervision.loss,
        peak_gib=supervision.peak_gib,
        seconds_per_step=supervision.seconds_per_step,
        found=examined[-1].summary if examined else None,
        from_step=conditions.first_step,
    )


def no_use(run: Run, found: Examination) -> TrainingError | None:
    """The error of a run that ended well with a file that is of no use. The file stays."""
    problem = examination.fatal(found)
    if problem is None:
        return None
    return TrainingError(f"the run ended, but {problem.message}", f"{problem.hint}\nthe file is kept: {run.result}")


def _follow(
    child: process.Child, supervision: Supervision, first: FirstCheckpoint, log: BinaryIO, on_event: OnEvent
) -> int:
    """Return the exit code once the trainer has ended, by itself or because a guard found the run lost."""
    for line in child.lines(log):
        for event in chain(supervision.hear(line) if line else (), supervision.look(), first.events()):
            first.hear(event)
            on_event(event)
        if supervision.fatal is not None:
            child.stop()
            break
        if supervision.pruned is not None:
            return 0  # still running
    return child.wait()


def _ask_to_save(run: Run, conditions: Conditions, child: process.Child) -> None:
    """Have the trainer save a state and end (inside/saving.py): several processes by a file, not to be killed soon."""
    if conditions.is_shared:
        with contextlib.suppress(OSError):
            files.write(run.stop_asked, "")
            return
    child.ask_to_end()


def _let_step_end(
    child: process.Child, supervision: Supervision, log: BinaryIO, on_event: OnEvent, *, saves: bool = False
) -> bool:
    """Wait until the current step has ended and its files are written. A second signal ends the wait.

    After the last step, the result is being written. A trainer that `saves` a state is waited for until it has ended.
    Returns whether the trainer has ended by itself.
    """
    if supervision.step is None:
        return False
    at_step, at_end = supervision.step.step, supervision.step.step >= supervision.step.steps
    began = time.monotonic()
    patience = min(max(LEAST_PATIENCE_SECONDS, 3 * (supervision.seconds_per_step or 0)), MOST_PATIENCE_SECONDS)
    most = SAVING_SECONDS if saves else MOST_PATIENCE_SECONDS
    patience = MOST_PATIENCE_SECONDS if at_end else 2 * patience if saves else patience
    what = "all steps are done, and the result is being saved" if at_end else "stopping after this step"
    ended = False
    try:
        on_event(Stopping(f"{what}; Ctrl-C again stops at once"))
        for line in child.lines(log):
            for event in chain(supervision.hear(line) if line else (), supervision.figures()):
                on_event(event)
                patience = most if _is_saving(event) else patience
            has_made_it = supervision.step.step > at_step and supervision.is_settled and not saves
            if has_made_it or time.monotonic() > began + patience:
                break
        else:
            ended = True
        for event in supervision.close():
            on_event(event)
    except signals.Stopped:
        return False
    return ended


def _take_last_words(child: process.Child, supervision: Supervision, log: BinaryIO, on_event: OnEvent) -> None:
    """Process output that is still buffered after the trainer has ended, so that the last step is known."""
    end = time.monotonic() + _LAST_WORDS_SECONDS
    with contextlib.suppress(signals.Stopped):
        for line in child.lines(log):
            for event in supervision.hear(line) if line else ():
                on_event(event)
            if time.monotonic() > end:
                return


def _is_saving(event: Event) -> bool:
    return isinstance(event, CheckpointSaving) or event == SAVING_STATE


def _steps(supervision: Supervision) -> int:
    return supervision.step.step if supervision.step else 0


def _outcome(word: str, supervision: Supervision, started: float) -> Outcome:
    return Outcome(
        outcome=word,
        steps=_steps(supervision),
        seconds=round(time.monotonic() - started, 1),
        loss=supervision.loss,
        peak_gib=None if supervision.peak_gib is None else round(supervision.peak_gib, 3),
        seconds_per_step=supervision.seconds_per_step,
    )


def _odd_end(code: int) -> str:
    """What to say about a nonzero exit code if the trainer has completed everything."""
    if code > process.SIGNALLED:
        return f"signal {code - process.SIGNALLED} ended a process around the trainer, which went on to its end"
    return f"the trainer ended with {code} after it had saved the model"


def _position(supervision: Supervision) -> str:
    return (
        f"at step {supervision.step.step} of {supervision.step.steps}" if supervision.step else "before the first step"
    )


def _error(run: Run, supervision: Supervision, code: int) -> TrainingError | None:
    """What went wrong; None where the trainer said that it was done, and the whole file is there."""
    if supervision.fatal is not None:
        return TrainingError(_given_up(run, supervision, supervision.fatal.problem))
    if supervision.no_data or not supervision.finished:
        return _failure(run, supervision, code)
    try:
        checkpoint.read_header(run.result)
    except ModelError as error:
        return TrainingError(f"the trainer said it was done, but {error}", f"full output: {run.log}")
    if supervision.loss is not None and not math.isfinite(supervision.loss):
        worthless = "the loss is not a number: the trained file is worthless"
        return TrainingError(worthless, remedies.not_a_number(supervision.facts))
    return None


def _given_up(run: Run, supervision: Supervision, problem: Problem) -> Problem:
    """A guard has stopped the run: name the last checkpoint from before the trouble."""
    good = [path for path in _checkpoints(run) if path.stat().st_mtime <= (supervision.sound_until or 0)]
    kept = f"the last good checkpoint: {good[-1]}" if good else "no checkpoint was saved before it"
    return Problem(f"stopped {_position(supervision)}: {problem.message}", f"{problem.hint}\n{kept}")


def _failure(run: Run, supervision: Supervision, code: int) -> TrainingError:
    """The error of a trainer that ended early, with the cause and the remedy that its output tells."""
    where, log = f"training failed {_position(supervision)}", f"full output: {run.log}"
    known = diagnosis.explain(list(supervision.last_lines), supervision.facts)
    if known is None:
        told = diagnosis.last_error(list(supervision.last_lines))
        why = told or (f"exit code {code}" if code else "the trainer ended early and gave no reason")
        return TrainingError(f"{where}: {why}", log)
    if known.kind is Failure.GPU_MEMORY:
        return GpuMemoryError(f"{where}: {known.cause}", log)
    return TrainingError(f"{where}: {known.cause}", f"{known.remedy}\n{log}")


def _stopped(run: Run, supervision: Supervision, first: FirstCheckpoint, signum: int, started: float) -> StoppedError:
    _set_aside_broken(run)
    kept = _checkpoints(run)
    outcome = _outcome("stopped", supervision, started)
    runs.write_outcome(run, outcome.model_copy(update={"examined": tuple(first.found)}))
    hint = f"the last checkpoint: {kept[-1]}" if kept else "no checkpoint was saved yet"
    if states.complete(run.folder):
        hint = f"to resume: sdxl-train runs resume {formatting.shell_word(run.folder)}\n{hint}"
    return StoppedError(Problem(f"stopped {_position(supervision)}", hint), signum)


def _pruned(run: Run, supervision: Supervision, first: FirstCheckpoint, why: str, started: float) -> PrunedError:
    _set_aside_broken(run)
    facts = {"examined": tuple(first.found), "pruned": why}
    runs.write_outcome(run, _outcome("stopped", supervision, started).model_copy(update=facts))
    return PrunedError(Problem(why, f"its files are kept: {run.folder}"))


def _checkpoints(run: Run) -> list[Path]:
    """The run's checkpoints, newest last."""
    found = [path for path in run.folder.glob("*.safetensors") if results.is_checkpoint(path, run.name)]
    return sorted(filter(files.is_file, found), key=lambda path: path.stat().st_mtime)


def _set_aside_broken(run: Run) -> None:
    """Rename incomplete checkpoints, so that nobody mistakes them for complete ones."""
    for path in _checkpoints(run):
        try:
            checkpoint.read_header(path)
        except ModelError:
            with contextlib.suppress(OSError):
                path.replace(path.with_name(path.name + results.INCOMPLETE))
