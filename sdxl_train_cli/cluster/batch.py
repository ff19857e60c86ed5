"""Trainings that were submitted together: a folder in the shared home, with a folder for each.

Files that are whole or absent, and each is written by one process alone. A database would not do: SQLite's locks can't
be relied upon on the shared file systems of clusters.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.jobs.job import JobState, KeptResume, Waiting
from sdxl_train_cli.jobs.store import Kept

_BATCH, _SUBMITTED, _TASKS = "batch.json", "submitted.json", "tasks"
_NAME_PARTS = 3
"""Of a folder's name: day, time, and what tells two of one second apart."""
_UNREADABLE = "unreadable"
_TASK, _START, _RUN, _END = "task.json", "start.json", "run.json", "end.json"


@dataclass(frozen=True)
class TaskStart:
    """The last start of a task."""

    starts: int
    step: int
    """The step that it began with."""
    stalls: int
    """How many starts in a row have not come further."""


@dataclass(frozen=True)
class TaskEnd:
    """How a task ended."""

    state: JobState
    exit_code: int
    cause: str | None = None


@dataclass(frozen=True)
class ChosenPoint:
    """What a task of a search has chosen to try."""

    settings: Mapping[str, str]
    is_settled: bool = False
    """Whether it has looked around since it wrote this down, and no other task has the same."""
    is_checked: bool = False
    """Whether it was checked as a run is, so that the task's record is its own."""
    refused: str | None = None
    """Why it can't train."""


@dataclass(frozen=True)
class Task:
    """One training of a batch."""

    folder: Path
    name: str
    kind: str
    preset: str
    token: str
    """Written into its run's record, so that a run of another task is never resumed."""
    kept: Kept
    search: str = ""
    """The sweep whose search chooses its settings. Empty where they are given."""
    point: ChosenPoint | None = None
    """What it has chosen. None before, and where its settings are given."""

    @property
    def index(self) -> int:
        """Its element of the array."""
        return int(self.folder.name)

    @property
    def output(self) -> Path:
        """All that its starts have printed."""
        return self.folder / "output.log"

    @property
    def output_folder(self) -> Path | None:
        """Folder in which its run is made."""
        found = _read(self.folder / _TASK).get("output")
        return Path(found) if isinstance(found, str) else None

    @property
    def resume(self) -> KeptResume | None:
        """How its run is to be resumed, where that was asked for."""
        found = _read(self.folder / _TASK).get("resume")
        if not isinstance(found, dict):
            return None
        steps = found.get("steps")
        return KeptResume(
            steps if isinstance(steps, int) else None, bool(found.get("force")), bool(found.get("check_vram"))
        )

    @property
    def run(self) -> Path | None:
        """Its run's folder, noted before it is created. None before its first start."""
        found = _read(self.folder / _RUN).get("folder")
        return Path(found) if isinstance(found, str) else None

    def note_point(self, name: str, point: ChosenPoint, record: str | None = None) -> Task:
        """Write down what it has chosen, and the record of it once that is made. Returns the task as it is then.

        In `task.json`, which was there before any task began: a network drive looks at a file anew when it is opened,
        but may believe for a minute that there is still none.
        """
        kept = self.kept if record is None else replace(self.kept, record=record)
        found = _read(self.folder / _TASK)
        if not found:
            raise UsageError(f"{self.folder / _TASK} can't be read", "sdxl-train cluster retry JOB tries it again")
        _write(self.folder / _TASK, {**found, "name": name, "record": kept.record, "point": asdict(point)})
        return replace(self, name=name, point=point, kept=kept)

    def note_run(self, run: Path) -> None:
        """Note its run's folder."""
        _write(self.folder / _RUN, {"folder": str(run)})

    @property
    def start(self) -> TaskStart | None:
        """Its last start. None before the first."""
        found = _read(self.folder / _START)
        numbers = [found.get(name) for name in ("starts", "step", "stalls")]
        starts, step, stalls = (number if isinstance(number, int) else 0 for number in numbers)
        return TaskStart(starts, step, stalls) if starts else None

    def note_start(self, start: TaskStart) -> None:
        """Note a start, and forget how an earlier one ended."""
        (self.folder / _END).unlink(missing_ok=True)
        _write(self.folder / _START, asdict(start))

    def forget_stalls(self) -> None:
        """Let it start as often as a new one."""
        start = self.start
        if start is not None:
            self.note_start(replace(start, stalls=0))

    @property
    def end(self) -> TaskEnd | None:
        """How it ended. None if it has not, or if it was cut off."""
        found = _read(self.folder / _END)
        state, code, cause = found.get("state"), found.get("exit_code"), found.get("cause")
        if not isinstance(code, int) or state not in {each.value for each in JobState}:
            return None
        return TaskEnd(JobState(state), code, cause if isinstance(cause, str) else None)

    def note_end(self, end: TaskEnd) -> None:
        """Note how it ended."""
        _write(self.folder / _END, {**asdict(end), "state": end.state.value})


@dataclass(frozen=True)
class Batch:
    """Trainings that were submitted together."""

    folder: Path

    @property
    def script(self) -> Path:
        """The script that sbatch was given."""
        return self.folder / "script.sh"

    @property
    def jobs(self) -> tuple[str, ...]:
        """Slurm's IDs, the latest last. Empty if it was not submitted."""
        found = _read(self.folder / _SUBMITTED).get("jobs")
        return tuple(map(str, found)) if isinstance(found, list) else ()

    def note_job(self, job: str, elements: Sequence[int] | None = None) -> None:
        """Note an ID that Slurm has given it, or given some of its elements that were submitted again.

        A task that starts before the login node has noted it notes the same one.
        """
        again = self._again if elements is None else {**self._again, job: list(elements)}
        _write(self.folder / _SUBMITTED, {"jobs": list(dict.fromkeys([*self.jobs, job])), "again": again})

    @property
    def has_started(self) -> bool:
        """Whether a task of it was started on a node, whatever the login node knows of its submission."""
        return any(self.folder.glob(f"{_TASKS}/*/{_START}"))

    @property
    def _again(self) -> Mapping[str, object]:
        """The elements of each job that has only some."""
        found = _read(self.folder / _SUBMITTED).get("again")
        return found if isinstance(found, dict) else {}

    @property
    def group(self) -> list[Batch]:
        """What was submitted together with it, itself among it: an array each."""
        name = "-".join(self.folder.name.split("-")[:_NAME_PARTS])
        return [Batch(folder) for folder in sorted(self.folder.parent.glob(f"{name}*"))]

    @property
    def is_array(self) -> bool:
        """Whether it was submitted as an array."""
        return bool(_read(self.folder / _BATCH).get("array"))

    @property
    def at_once(self) -> int | None:
        """How many of its tasks may run at a time. None leaves that to Slurm."""
        found = _read(self.folder / _BATCH).get("at_once")
        return found if isinstance(found, int) else None

    def id_of(self, task: Task) -> str | None:
        """Slurm's ID of a task's latest job."""
        return self.ids([task.index]).get(task.index)

    def ids(self, indices: Collection[int]) -> Mapping[int, str]:
        """Slurm's ID of the latest job of each of these tasks."""
        again, is_array = self._again, self.is_array
        latest = {index: job for job in self.jobs for index in _numbers(again.get(job, list(indices)))}
        return {index: f"{latest[index]}_{index}" if is_array else latest[index] for index in indices
                if index in latest}  # fmt: skip

    def indices(self) -> list[int]:
        """Its elements. None of one that another command has just removed."""
        try:
            names = os.listdir(self.folder / _TASKS)  # noqa: PTH208 - a Path for each is slow
        except FileNotFoundError:
            return []
        return sorted(int(name) for name in names if name.isdecimal())

    def tasks(self) -> list[Task]:
        """Its trainings, for a list."""
        return [self.listed_task(index) for index in self.indices()]

    def listed_task(self, index: int) -> Task:
        """One training, for a list: a broken one must not hide the others, and has neither kind nor token."""
        try:
            return self.task(index)
        except UsageError:
            return Task(self.folder / _TASKS / str(index), _UNREADABLE, "", "", "", kept=Kept("", (), 0))

    def task(self, index: int) -> Task:
        """One training. UsageError if it can't be read."""
        return _task(self.folder / _TASKS / str(index))


def new_folders(place: Path, count: int) -> list[Path]:
    """Folders for what is submitted together. Their names begin with the moment, and end with a number if need be."""
    name = f"{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    return [place / name] if count == 1 else [place / f"{name}-{number:03}" for number in range(1, count + 1)]


def create(
    folder: Path, points: Sequence[Waiting], script: Callable[[Batch], str], *, is_array: bool,
    at_once: int | None = None,
) -> Batch:  # fmt: skip
    """Write a batch into one of the `new_folders`, whole or not at all. UsageError if that fails."""
    batch = Batch(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with files.new_folder(batch.folder) as beside:
            for index, point in enumerate(points):
                task = beside / _TASKS / str(index)
                task.mkdir(parents=True)
                if point.run is not None:
                    _write(task / _RUN, {"folder": str(point.run)})
                _write(task / _TASK, {
                    "resume": None if point.resume is None else asdict(point.resume),
                    "token": point.token, "name": point.name, "kind": point.kind, "preset": point.preset,
                    "output": _output(point), "search": point.search,
                    "record": point.record, "guards_off": list(point.guards_off), "step_downs": point.step_downs,
                })  # fmt: skip
            created = datetime.now(timezone.utc).isoformat()
            _write(beside / _BATCH, {"created": created, "array": is_array, "at_once": at_once})
            _write(beside / _SUBMITTED, {"jobs": []})  # here already: a network drive may hide a new file for a minute
            files.write(beside / batch.script.name, script(batch))
    except OSError as error:
        raise UsageError(
            f"{batch.folder} can't be written: {error.strerror}", "check space and permissions there"
        ) from error
    return batch


def all_in(place: Path) -> list[Batch]:
    """The batches that were submitted, the oldest first."""
    return [batch for batch in _whole_ones(place) if batch.jobs]


def _whole_ones(place: Path) -> list[Batch]:
    """Every batch, the oldest first. UsageError if the folder can't be read."""
    try:
        folders = sorted(place.iterdir()) if files.is_folder(place) else []
    except OSError as error:
        raise UsageError(f"{place} can't be read: {error.strerror}", "check its permissions") from error
    return [Batch(folder) for folder in folders if not folder.name.startswith(".") and files.is_folder(folder / _TASKS)]


def end_file(batch: Batch, index: int) -> str:
    """Where a task's end is noted: absent before it, and as soon as it is started again. Text, as there are many."""
    return os.path.join(batch.folder, _TASKS, str(index), _END)  # noqa: PTH118


def task_facts(task: Task) -> Mapping[str, object]:
    """What `parse_task` takes, but the record, which is long."""
    return {**_read(task.folder / _TASK), "record": ""}


def with_tokens(place: Path, tokens: Collection[str]) -> Mapping[str, Batch]:
    """The latest batch that holds each of these tokens, submitted or cut off just before.

    UsageError if the drive does not say: what can't be read may be what was asked for.
    """
    wanted = frozenset(tokens)
    held = ((_token(task), one) for one in _whole_ones(place) for task in one.folder.glob(f"{_TASKS}/*"))
    return {token: one for token, one in held if token in wanted}


def _token(task: Path) -> str:
    try:
        found = files.read_json(task / _TASK)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise UsageError(f"{task / _TASK} can't be read: {error.strerror}", "try again") from error
    except ValueError:  # never half written, so not ours
        return ""
    return str(found.get("token")) if isinstance(found, dict) else ""


def drop(one: Batch) -> None:
    """Remove a batch that was not submitted, as a whole: a kill leaves no half of it. UsageError if it can't be."""
    away = one.folder.with_name(f".{one.folder.name}.old")
    try:
        one.folder.rename(away)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{one.folder} can't be removed: {error.strerror}", "check its permissions") from error
    shutil.rmtree(away, ignore_errors=True)


def _numbers(found: object) -> list[int]:
    return [number for number in found if isinstance(number, int)] if isinstance(found, list) else []


def _output(point: Waiting) -> str | None:
    if point.run is not None:
        return str(point.run.parent)
    inputs = json.loads(point.record).get("inputs")
    return None if inputs is None else str(inputs["output"])


def _task(folder: Path) -> Task:
    return parse_task(folder, _read(folder / _TASK))


def parse_task(folder: Path, found: Mapping[str, object]) -> Task:
    """A task of what its file says. UsageError if that is no task."""
    texts = {name: found.get(name) for name in ("name", "kind", "preset", "token", "record")}
    guards, downs = found.get("guards_off"), found.get("step_downs")
    if not all(isinstance(text, str) for text in texts.values()) or not isinstance(guards, list):
        raise UsageError(f"{folder} is no task of a cluster", "submit the training again")
    known = {name: str(text) for name, text in texts.items()}
    kept = Kept(known.pop("record"), tuple(map(str, guards)), downs if isinstance(downs, int) else 0)
    return Task(folder, **known, kept=kept, search=str(found.get("search") or ""), point=_point(found.get("point")))


def _point(found: object) -> ChosenPoint | None:
    settings = found.get("settings") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(settings, dict):
        return None
    refused = found.get("refused")
    plain = {str(option): str(value) for option, value in settings.items()}
    is_settled, is_checked = bool(found.get("is_settled")), bool(found.get("is_checked"))
    return ChosenPoint(plain, is_settled, is_checked, None if refused is None else str(refused))


def _write(path: Path, found: object) -> None:
    files.write(path, json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def _read(path: Path) -> Mapping[str, object]:
    """A file's object. Empty if it is absent or unreadable."""
    try:
        found = files.read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
