"""Carry out one job: a new run, or its own run resumed after an interruption; and note in the queue how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sdxl_train_cli import signals
from sdxl_train_cli.errors import SdxlTrainError, SetupError, UsageError
from sdxl_train_cli.jobs.job import Job, JobState
from sdxl_train_cli.jobs.store import Kept, Queue
from sdxl_train_cli.records import history, run_owner
from sdxl_train_cli.records.history import Loaded, RunState
from sdxl_train_cli.records.record import Record
from sdxl_train_cli.records.runs import Run
from sdxl_train_cli.run import finishing, repeating, resuming, several_gpus
from sdxl_train_cli.run.repeating import RepeatedChoices
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.run.training import PrunedError, StoppedError
from sdxl_train_cli.sdscripts import states

_TRAINER_END_SECONDS = 120.0
"""How long the trainer of a start that was killed may take to end."""
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class JobActions:
    """The commands' own actions. Each blocks until its run has ended, and raises what that raises."""

    start: Callable[[Choices, Kept, Callable[[Path], None]], None]
    """Start a new run. The last argument takes its folder before it is created."""
    resume: Callable[[Loaded, Kept], None]
    say: Callable[[str], None]


class LostJobError(UsageError):
    """Another process has started this job since, so that this one must not."""


def carry_out(queue: Queue, job: Job, user_presets: Path, actions: JobActions) -> None:
    """Carry out a claimed job and note how it ended. Raises what its run raises."""
    try:
        _go_on(queue, job, user_presets, actions)
    except (StoppedError, signals.Stopped) as stop:
        if queue.require(job.id).is_to_stop:
            queue.end(job, JobState.STOPPED, _code(stop))
        else:
            queue.put_back(job, steps_of(queue.require(job.id)), is_cut_off=False)
        raise
    except PrunedError as error:
        queue.end(job, JobState.STOPPED, error.exit_code, error.problems[0].message)
        actions.say(error.problems[0].message)
        return
    except LostJobError:
        raise
    except SetupError:  # not the job's fault
        queue.put_back(job, steps_of(queue.require(job.id)), is_cut_off=False)
        raise
    except SdxlTrainError as error:
        queue.end(job, JobState.FAILED, error.exit_code, str(error.problems[0]))
        raise
    except Exception as error:
        queue.end(job, JobState.FAILED, 1, f"{type(error).__name__}: {error}")
        raise
    queue.end(job, JobState.DONE, 0)


def _code(stop: StoppedError | signals.Stopped) -> int:
    return stop.exit_code if isinstance(stop, StoppedError) else 128 + stop.signum


def _go_on(queue: Queue, job: Job, user_presets: Path, actions: JobActions) -> None:
    def note_folder(folder: Path) -> None:
        if not queue.note_folder(job, folder):
            raise LostJobError(f"job {job.id} has been started by another process", "`sdxl-train queue list` shows it")

    again = "add it again with `sdxl-train queue add`"
    go_on(job, KeptJob(queue.kept(job.id), queue.job_folder(job.id), again), user_presets, actions, note_folder)


@dataclass(frozen=True)
class KeptJob:
    """What is kept of a job beside itself, and where."""

    kept: Kept
    folder: Path
    to_add_again: str
    """What to do if it can't be read."""
    saves_on_stop: bool = False
    """Whether its run saves a state when it is asked to stop."""


def go_on(
    job: Job, stored: KeptJob, user_presets: Path, actions: JobActions, note_folder: Callable[[Path], None]
) -> None:
    """Start a job's run, or resume its own. Blocks, and raises what its run raises."""
    before = own_run(job)
    if before is not None:
        before = after_its_trainer(before)
        if before.state is RunState.DONE:
            return
        if resuming.is_possible(before) or finishing.is_trained(before):
            actions.say(f"resuming {before.folder}")
            actions.resume(before, stored.kept)
            return
        actions.say(f"{before.folder} has no state to resume from: starting anew")
    again = _choices(job, stored, user_presets)
    for note in again.notes:
        actions.say(note)
    actions.start(again.choices, stored.kept, note_folder)


def own_run(job: Job) -> Loaded | None:
    """The job's run. None if it has none yet: a folder that was noted may have been taken by another run."""
    if job.folder is None:
        return None
    entry = history.load(job.folder)
    inputs = entry.record.inputs
    is_own = entry.state is not RunState.BROKEN and inputs is not None and inputs.job == job.token
    return entry if is_own else None


def steps_of(job: Job) -> int:
    """The step that a job's run can be resumed from. 0 without a state."""
    entry = own_run(job)
    found = states.complete(entry.folder) if entry is not None else []
    return found[-1].step if found else 0


def result_of(job: Job) -> Path | None:
    """The file that a job has made. None if it is gone."""
    entry = own_run(job)
    made = None if entry is None else Run(entry.folder, entry.name).result
    return made if made is not None and made.is_file() else None


def after_its_trainer(entry: Loaded) -> Loaded:
    """The run once the trainer of a start that was killed has ended. UsageError if it goes on."""
    end = time.monotonic() + _TRAINER_END_SECONDS
    while entry.state is RunState.RUNNING:
        if time.monotonic() > end:
            raise UsageError(run_owner.running_problem(entry.folder, entry.name))
        time.sleep(_LOOK_SECONDS)
        entry = history.load(entry.folder)
    return entry


def _choices(job: Job, stored: KeptJob, user_presets: Path) -> RepeatedChoices:
    """The job's choices as they were when it was added, whatever has become of presets and project file since."""
    try:
        record = Record.model_validate_json(stored.kept.record)
    except ValueError as error:
        raise UsageError(f"job {job.id} can't be read", stored.to_add_again) from error
    entry = Loaded(stored.folder, RunState.STOPPED, record)
    again = repeating.choices_of(entry, job.name, user_presets)
    choices = several_gpus.on(again.choices, job.devices or job.gpu_indices)
    return replace(again, choices=replace(choices, job=job.token, saves_on_stop=stored.saves_on_stop))
