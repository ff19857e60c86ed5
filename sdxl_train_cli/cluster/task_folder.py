"""One training of a batch: the folder in which its node, and nobody else, writes down what becomes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from sdxl_train_cli import files
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.jobs.job import JobState, KeptResume, Waiting
from sdxl_train_cli.jobs.store import Kept

START, END = "start.json", "end.json"
_TASK, _RUN = "task.json", "run.json"
_UNREADABLE = "unreadable"


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
        found = read(self.folder / _TASK).get("output")
        return Path(found) if isinstance(found, str) else None

    @property
    def resume(self) -> KeptResume | None:
        """How its run is to be resumed, where that was asked for."""
        found = read(self.folder / _TASK).get("resume")
        if not isinstance(found, dict):
            return None
        steps = found.get("steps")
        return KeptResume(
            steps if isinstance(steps, int) else None, bool(found.get("force")), bool(found.get("check_vram"))
        )

    @property
    def run(self) -> Path | None:
        """Its run's folder, noted before it is created. None before its first start."""
        found = read(self.folder / _RUN).get("folder")
        return Path(found) if isinstance(found, str) else None

    def note_point(self, name: str, point: ChosenPoint, record: str | None = None) -> Task:
        """Write down what it has chosen, and the record of it once that is made. Returns the task as it is then.

        In `task.json`, which was there before any task began: a network drive looks at a file anew when it is opened,
        but may believe for a minute that there is still none.
        """
        kept = self.kept if record is None else replace(self.kept, record=record)
        found = read(self.folder / _TASK)
        if not found:
            raise UsageError(f"{self.folder / _TASK} can't be read", "sdxl-train cluster retry JOB tries it again")
        write(self.folder / _TASK, {**found, "name": name, "record": kept.record, "point": asdict(point)})
        return replace(self, name=name, point=point, kept=kept)

    def note_run(self, run: Path) -> None:
        """Note its run's folder."""
        write(self.folder / _RUN, {"folder": str(run)})

    @property
    def start(self) -> TaskStart | None:
        """Its last start. None before the first."""
        found = read(self.folder / START)
        numbers = [found.get(name) for name in ("starts", "step", "stalls")]
        starts, step, stalls = (number if isinstance(number, int) else 0 for number in numbers)
        return TaskStart(starts, step, stalls) if starts else None

    def note_start(self, start: TaskStart) -> None:
        """Note a start, and forget how an earlier one ended."""
        (self.folder / END).unlink(missing_ok=True)
        write(self.folder / START, asdict(start))

    def forget_stalls(self) -> None:
        """Let it start as often as a new one."""
        start = self.start
        if start is not None:
            self.note_start(replace(start, stalls=0))

    @property
    def end(self) -> TaskEnd | None:
        """How it ended. None if it has not, or if it was cut off."""
        found = read(self.folder / END)
        state, code, cause = found.get("state"), found.get("exit_code"), found.get("cause")
        if not isinstance(code, int) or state not in {each.value for each in JobState}:
            return None
        return TaskEnd(JobState(state), code, cause if isinstance(cause, str) else None)

    def note_end(self, end: TaskEnd) -> None:
        """Note how it ended."""
        write(self.folder / END, {**asdict(end), "state": end.state.value})


def create(folder: Path, point: Waiting) -> None:
    """Write the folder of a task that is to be submitted. OSError if that fails."""
    folder.mkdir(parents=True)
    if point.run is not None:
        write(folder / _RUN, {"folder": str(point.run)})
    write(folder / _TASK, {
        "resume": None if point.resume is None else asdict(point.resume),
        "token": point.token, "name": point.name, "kind": point.kind, "preset": point.preset,
        "output": _output(point), "search": point.search,
        "record": point.record, "guards_off": list(point.guards_off), "step_downs": point.step_downs,
    })  # fmt: skip


def _output(point: Waiting) -> str | None:
    if point.run is not None:
        return str(point.run.parent)
    inputs = json.loads(point.record).get("inputs")
    return None if inputs is None else str(inputs["output"])


def load(folder: Path) -> Task:
    """A task. UsageError if it can't be read."""
    return parse(folder, read(folder / _TASK))


def listed(folder: Path) -> Task:
    """A task for a list: a broken one must not hide the others, and has neither kind nor token."""
    try:
        return load(folder)
    except UsageError:
        return Task(folder, _UNREADABLE, "", "", "", kept=Kept("", (), 0))


def parse(folder: Path, found: Mapping[str, object]) -> Task:
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


def facts(task: Task) -> Mapping[str, object]:
    """What `parse` takes, but the record, which is long."""
    return {**read(task.folder / _TASK), "record": ""}


def token(folder: Path) -> str:
    """A task's token, empty where it has none. UsageError if the drive does not say."""
    try:
        found = files.read_json(folder / _TASK)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise UsageError(f"{folder / _TASK} can't be read: {error.strerror}", "try again") from error
    except ValueError:  # never half written, so not ours
        return ""
    return str(found.get("token")) if isinstance(found, dict) else ""


def write(path: Path, found: object) -> None:
    """Write an object as JSON, whole or not at all. OSError if that fails."""
    files.write(path, json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def read(path: Path) -> Mapping[str, object]:
    """A file's object. Empty if it is absent or unreadable."""
    try:
        found = files.read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
