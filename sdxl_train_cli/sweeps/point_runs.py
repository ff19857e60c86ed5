"""What a sweep needs of its points' runs, and what it remembers of those that have ended: there may be thousands.

Remembered is what a run's record says, and which of its checkpoints stands for it: finding that out reads the header of
each. It counts while the folder, the record, the outcome and the losses of pictures are as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from sdxl_train_cli import files
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.ranking import evidence, ranking
from sdxl_train_cli.ranking.verdict import Basis, Verdict
from sdxl_train_cli.records import ended_index, history, picture_losses, record
from sdxl_train_cli.records.ended_index import Ended
from sdxl_train_cli.records.history import Loaded, RunState
from sdxl_train_cli.records.picture_losses import Validation
from sdxl_train_cli.records.record import Record
from sdxl_train_cli.sweeps import measuring
from sdxl_train_cli.sweeps.measuring import Yardstick

_Kept = TypeVar("_Kept")
OnProgress = Callable[[int, int], None]
_ALSO = ("", picture_losses.FILE)
"""What counts beside the record and the outcome: the folder itself shows that a checkpoint is gone."""


@dataclass(frozen=True)
class PointRun:
    """A point's run."""

    folder: Path
    name: str
    state: RunState
    job: str | None
    """Token of the job that it belongs to."""
    pruned: str | None
    cause: str | None
    yardstick: Yardstick
    """What its losses depend on beside its weights."""
    noise: Yardstick
    stamp: str | None
    """The state of its files before they were read. None if it may not have ended."""


@dataclass(frozen=True)
class MeasuredRun:
    """What the losses of a run's held-back pictures say."""

    curve: tuple[tuple[int, float], ...]
    """Step and loss of each look."""
    looks: tuple[int, ...] = ()
    """Steps of the looks that speak for its checkpoints."""
    checkpoint: Path | None = None
    """Its best checkpoint. None where no look speaks for one."""
    best: Validation | None = None
    """The look that speaks for it."""


def load_all(folders: Iterable[Path]) -> dict[Path, PointRun]:
    """The runs in these folders, without those that are none, or broken."""
    stamps = {folder: ended_index.run_stamp(str(folder), _ALSO) for folder in folders
              if files.is_file(folder / record.RUN)}  # fmt: skip
    return _remembered("point", stamps, lambda folder: _read(folder, stamps[folder]), _run_facts, _parse_run)


def measure_all(runs: Iterable[PointRun], on_progress: OnProgress | None = None) -> dict[Path, MeasuredRun]:
    """What is known of the losses of each."""
    stamps = {run.folder: run.stamp for run in runs}
    return _remembered("measured", stamps, _measure, _measured_facts, _parse_measured, on_progress)


def _remembered(  # noqa: PLR0913, PLR0917 - how one kind of thing is read, written and read back
    what: str,
    stamps: Mapping[Path, str | None],
    read: Callable[[Path], _Kept | None],
    facts: Callable[[_Kept], Sequence[object] | None],
    parse: Callable[[Path, Ended], _Kept],
    on_progress: OnProgress | None = None,
) -> dict[Path, _Kept]:
    """From the index of the folder that each run lies in, or read."""
    places, numbers = dict[Path, list[tuple[str, str | None]]](), count(1)
    for folder, stamp in stamps.items():
        places.setdefault(folder.parent, []).append((folder.name, stamp))

    def counted(pairs: Iterable[tuple[str, str | None]]) -> Iterator[tuple[str, str | None]]:
        for pair in pairs:
            if on_progress is not None:
                on_progress(next(numbers), len(stamps))
            yield pair

    def within(place: Path) -> dict[str, _Kept]:
        return ended_index.remembered(
            place, what, counted(places[place]), lambda name: read(place / name), facts,
            lambda row: parse(place / row.name, row),
        )  # fmt: skip

    return {place / name: one for place in places for name, one in within(place).items()}


def _read(folder: Path, stamp: str | None) -> PointRun | None:
    entry = history.load(folder)
    if entry.state is RunState.BROKEN:
        return None
    inputs, outcome = entry.record.inputs, entry.outcome
    is_over = entry.state.value in history.ENDS
    return PointRun(
        folder, entry.name, entry.state, None if inputs is None else inputs.job,
        None if outcome is None else outcome.pruned, None if outcome is None else outcome.cause,
        measuring.of(entry.record), measuring.noise_of(entry.record), stamp if is_over else None,
    )  # fmt: skip


def _run_facts(run: PointRun) -> Sequence[object] | None:
    if run.stamp is None:
        return None
    return [run.name, run.state.value, run.job, run.pruned, run.cause, dict(run.yardstick), dict(run.noise)]


def _parse_run(folder: Path, row: Ended) -> PointRun:
    facts: list[Any] = list(row.facts)
    name, state, job, pruned, cause, yardstick, noise = facts
    known = _frozen(yardstick, _YARDSTICK), _frozen(noise, _NOISE)
    return PointRun(folder, name, history.ENDS[state], job, pruned, cause, *known, row.stamp)


_NOTHING = Record(sdxl_train="")
_YARDSTICK, _NOISE = measuring.of(_NOTHING), measuring.noise_of(_NOTHING)


def _frozen(found: Mapping[str, Any], like: Yardstick) -> Yardstick:
    """As it was before JSON, which knows no tuples. LookupError if a version with other options has written it."""
    if found.keys() != like.keys():
        raise LookupError("other options")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


def _measure(folder: Path) -> MeasuredRun | None:
    entry = history.load(folder)
    if entry.state is RunState.BROKEN:
        return None
    verdict = _verdict(entry)
    if verdict is None:
        looks: Sequence[Validation] = picture_losses.load(folder / picture_losses.FILE)
        return MeasuredRun(tuple((look.step, look.loss) for look in looks))
    curve = tuple((look.step, look.loss) for look in verdict.evidence.validations)
    if verdict.basis is not Basis.VALIDATION or verdict.best.measured is None:
        return MeasuredRun(curve)
    steps = {one.measured.step for one in verdict.checkpoints if one.measured is not None}
    return MeasuredRun(curve, tuple(sorted(steps)), verdict.best.candidate.path, verdict.best.measured)


def _verdict(entry: Loaded) -> Verdict | None:
    try:
        return ranking.judge(evidence.of_run(entry))
    except (UsageError, OSError):  # no checkpoint yet
        return None


def _measured_facts(one: MeasuredRun) -> Sequence[object]:
    best = None if one.best is None else [one.best.step, one.best.epoch, dict(one.best.held_back)]
    return [one.curve, one.looks, None if one.checkpoint is None else one.checkpoint.name, best]


def _parse_measured(folder: Path, row: Ended) -> MeasuredRun:
    facts: list[Any] = list(row.facts)
    curve, looks, checkpoint, best = facts
    return MeasuredRun(
        tuple((step, loss) for step, loss in curve), tuple(looks), None if checkpoint is None else folder / checkpoint,
        None if best is None else Validation(best[0], best[1], best[2], {}),
    )  # fmt: skip
