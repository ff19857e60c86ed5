"""A run's folder: planned without touching disk, then written."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from sdxl_train_cli import __version__, files, layout
from sdxl_train_cli.dataset import trainer_config
from sdxl_train_cli.dataset.folders import TrainingPictures
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import TrainingError, UsageError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.recipe import Recipe, Setting
from sdxl_train_cli.records import metrics, picture_losses, record, run_owner
from sdxl_train_cli.records.record import Attempt, Dataset, Device, Folder, Inputs, Outcome, Record, WholeInstalled
from sdxl_train_cli.sdscripts import results
from sdxl_train_cli.sdscripts.scalars import EventFileTail


@dataclass(frozen=True)
class Run:
    """Paths of one run."""

    folder: Path
    name: str

    @property
    def log(self) -> Path:
        """The trainer's full output."""
        return self.folder / record.LOG

    @property
    def dataset_config(self) -> Path:
        """The `--dataset_config` of sd-scripts."""
        return self.folder / record.DATASET

    @property
    def record(self) -> Path:
        """Settings with origins, argv and environment."""
        return self.folder / record.RUN

    @property
    def outcome(self) -> Path:
        """How the run ended. Absent while it runs, or if it was cut off."""
        return self.folder / record.OUTCOME

    @property
    def alive(self) -> Path:
        """The supervising process. Absent once the run has ended."""
        return self.folder / record.RUNNING

    @property
    def stop_asked(self) -> Path:
        """Asks several processes to save a state and end. Absent but for that moment."""
        return self.folder / record.STOP_ASKED

    @property
    def metrics(self) -> Path:
        """Values per step, one line each."""
        return self.folder / record.METRICS

    @property
    def validation(self) -> Path:
        """Losses of single pictures at each validation, one line each."""
        return self.folder / picture_losses.FILE

    @property
    def samples(self) -> Path:
        """Folder of sd-scripts' sample pictures."""
        return self.folder / results.SAMPLES

    @property
    def prompts(self) -> Path:
        """Prompts of the samples, if they are not a file of the user's."""
        return self.folder / record.PROMPTS

    @property
    def logs(self) -> Path:
        """TensorBoard's events."""
        return self.folder / record.EVENTS

    @property
    def result(self) -> Path:
        """The trained file."""
        return self.folder / f"{self.name}.safetensors"


class FolderTakenError(TrainingError):
    """Another run has taken the folder since this one chose it."""


def plan(output: Path, name: str) -> Run:
    """Choose the run's folder: `OUTPUT/NAME`, or `NAME-2` and so on if it exists. Writes nothing."""
    problem = record.name_problem(name)
    if problem:
        raise UsageError(f"'{name}' is not a valid run name: {problem}", "--name takes letters, digits, - and _")
    output = layout.expand(output)
    if files.exists(output) and not files.is_folder(output):
        raise UsageError(f"{output} is a file, not a folder", "give --output a folder")
    number = 1
    while os.path.lexists(output / _numbered(name, number)):
        number += 1
    return Run(output / _numbered(name, number), _numbered(name, number))


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def record_of(  # noqa: PLR0913 - keyword-only, each is a part of the record
    run: Run,
    *,
    recipe: Recipe,
    pictures: TrainingPictures,
    argv: Sequence[str],
    environment: Environment,
    inputs: Inputs,
    gpu: Gpu | None,
) -> Record:
    """The record of a run that is about to start. Lists the pictures once more.

    Without a GPU, the run trains on the processor.
    """
    return Record(
        sdxl_train=__version__,
        name=run.name,
        kind=recipe.kind.value,
        preset=recipe.name,
        started=datetime.now(timezone.utc),
        settings=dict(sorted(recipe.settings.items())),
        pictures=pictures.count,
        dataset=_dataset(pictures),
        inputs=inputs,
        argv=tuple(argv),
        environment=WholeInstalled.model_validate(environment.lock.model_dump(mode="json")),
        gpu=None if gpu is None else _device(gpu),
    )


def _dataset(pictures: TrainingPictures) -> Dataset:
    return Dataset(
        fingerprint=trainer_config.fingerprint(pictures),
        folders=tuple(
            Folder(
                path=str(subset.place),
                pictures=subset.pictures,
                repeats=subset.num_repeats,
                class_tokens=subset.class_tokens,
                is_reg=subset.is_reg,
            )
            for subset in pictures.subsets
        ),
    )


def _device(gpu: Gpu) -> Device:
    return Device(index=gpu.index, name=gpu.name, total_gib=gpu.total_gib, driver=gpu.driver)


def write(run: Run, kept: Record, pictures: TrainingPictures, prompts: str | None = None) -> None:
    """Write the run's record, with the prompts of its samples where they are no file of the user's.

    TrainingError if the folder is read-only or another run has just taken it.
    """
    try:
        run.folder.mkdir(parents=True, exist_ok=False)
        for path, entries in trainer_config.metadata(pictures, run.folder).items():
            _write_json(path, entries)
        _write_json(run.dataset_config, trainer_config.config(pictures, run.folder))
        if prompts is not None:
            files.write(run.prompts, prompts)
        _write_json(run.record, kept.model_dump(exclude_unset=True))
    except FileExistsError as error:
        raise FolderTakenError(
            f"another run has just taken {run.folder}", "start again, or choose another --name"
        ) from error
    except OSError as error:
        raise TrainingError(
            f"{run.folder} can't be written: {error.strerror}", "choose another place with --output"
        ) from error


def add_attempt(run: Run, argv: Sequence[str], step: int, changes: Mapping[str, Setting | None] | None = None) -> None:
    """Record that the run resumes at `step`, and discard its outcome and later metrics.

    `changes` are settings that apply from now on; the attempt names them. The caller must hold the run. TrainingError
    if the record can't be read or written.
    """
    _require_own_files(run)
    try:
        kept = files.read_json(run.record)
        if not isinstance(kept, dict):
            raise TrainingError(f"{run.record} is not a run's record", "start a new run")
        new = {name: setting for name, setting in (changes or {}).items() if setting is not None}
        changed = {name: setting.value for name, setting in new.items()}
        attempt = Attempt(
            started=datetime.now(timezone.utc), from_step=step, changed=changed, argv=tuple(argv),
            seconds_before=_seconds_so_far(run, kept),
        )  # fmt: skip
        # Keep unknown fields: another version of sdxl-train may have written them.
        kept.setdefault("attempts", []).append(attempt.model_dump(exclude_defaults=True))
        if changes:
            settings = kept["settings"] | {name: setting.model_dump() for name, setting in new.items()}
            gone = changes.keys() - new.keys()
            kept["settings"] = {name: setting for name, setting in settings.items() if name not in gone}
        _write_json(run.record, kept)
        metrics.truncate(run.metrics, step, EventFileTail(run.logs).read())
        picture_losses.truncate(run.validation, step)
        run.outcome.unlink(missing_ok=True)
        with run.log.open("ab") as log:
            log.write(f"\n--- resumed at step {step} ---\n".encode())
    except OSError as error:
        raise TrainingError(
            f"{run.folder} can't be written: {error.strerror}", "check space and permissions there"
        ) from error
    except ValueError as error:
        raise TrainingError(f"{run.record} can't be read: {error}", "start a new run") from error


def note_job(run: Run, token: str) -> None:
    """Record that a job has the run, whose token it is. The caller must hold the run. TrainingError as above."""
    _require_own_files(run)
    try:
        kept = files.read_json(run.record)
        if not isinstance(kept, dict) or not isinstance(kept.get("inputs"), dict):
            raise TrainingError(f"{run.record} is not a run's record", "start a new run")
        if kept["inputs"].get("job") != token:
            kept["inputs"]["job"] = token
            _write_json(run.record, kept)
    except OSError as error:
        raise TrainingError(
            f"{run.folder} can't be written: {error.strerror}", "check space and permissions there"
        ) from error
    except ValueError as error:
        raise TrainingError(f"{run.record} can't be read: {error}", "start a new run") from error


def _seconds_so_far(run: Run, kept: Mapping[str, object]) -> float:
    """What all starts of a run took; of one that was cut off, its steps alone are known."""
    attempts = kept.get("attempts")
    last = attempts[-1] if isinstance(attempts, list) and attempts else None
    before = Attempt.model_validate(last).seconds_before if isinstance(last, dict) else None
    with contextlib.suppress(OSError, ValueError):
        told = Outcome.model_validate(files.read_json(run.outcome)).seconds
        return round((before or 0.0) + (told or 0.0), 1)
    with contextlib.suppress(OSError):
        return round(sum(step.seconds or 0.0 for step in metrics.load(run.metrics)), 1)
    return before or 0.0


def _require_own_files(run: Run) -> None:
    """Refuse links, which would redirect our writes, and pipes, which would block: a folder may come from anybody."""
    for path in (run.record, run.outcome, run.alive, run.metrics, run.log, run.dataset_config, run.validation):
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(path.lstat().st_mode):
                raise TrainingError(f"{path} is not a plain file, and a run writes to it", "replace it with a file")


def write_outcome(run: Run, outcome: Outcome) -> None:
    """Write how the run ended. Never raises for a full disk, which must not hide the outcome from the user."""
    with contextlib.suppress(OSError):
        ended = outcome.model_copy(update={"ended": datetime.now(timezone.utc)})
        _write_json(run.outcome, ended.model_dump(exclude_unset=True))


@contextlib.contextmanager
def running(run: Run) -> Iterator[int | None]:
    """Hold the run and record its supervisor for the duration of the block.

    Yields the lock's handle. UsageError if another process has the run.
    """
    with run_owner.hold(run.folder) as lock, run_owner.read_noted(run.folder, lock):
        yield lock


def _write_json(path: Path, content: object) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False, default=_plain) + "\n"
    try:
        encoded = text.encode()
    except UnicodeEncodeError:  # a file name that is not UTF-8 can only be stored escaped
        encoded = json.dumps(content, indent=1, default=_plain).encode() + b"\n"
    files.write(path, encoded)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
