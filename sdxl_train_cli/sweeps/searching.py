"""Go on with a search: what its points have shown decides the next one, which is checked and queued.

Whoever ends a point asks: the job's own process, and the worker when it starts and before it ends, which picks up what
a kill has left out. All under the lock of the sweeps, so that no point is made twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdxl_train_cli.errors import SdxlTrainError
from sdxl_train_cli.jobs import entering
from sdxl_train_cli.jobs.job import Waiting
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.records import picture_losses
from sdxl_train_cli.records.history import Loaded, RunState
from sdxl_train_cli.records.record import Record
from sdxl_train_cli.run import guards, repeating
from sdxl_train_cli.sweeps import comparing, measuring, planning, point_names, progress, pruning, suggestions
from sdxl_train_cli.sweeps.axes import Axis, Range
from sdxl_train_cli.sweeps.comparing import Comparison, RankedPoint
from sdxl_train_cli.sweeps.planning import Prepare
from sdxl_train_cli.sweeps.progress import FollowedPoint
from sdxl_train_cli.sweeps.store import Sweeps
from sdxl_train_cli.sweeps.submitting import Submit
from sdxl_train_cli.sweeps.suggestions import Knowledge, TriedPoint
from sdxl_train_cli.sweeps.sweep import KeptAxis, Point, Sweep, Way

_MOST_IN_VAIN = 3
"""Points that may fail with none that has trained: then all would."""


@dataclass(frozen=True)
class Searches:
    """The searches of a home, and how their points are made."""

    sweeps: Sweeps
    queue: Queue
    make: Callable[[Sweep, str, Mapping[str, str]], Waiting]
    """Check a point of this name and settings, and make its job. Raises what is wrong."""
    submit: Submit
    say: Callable[[str], None]

    def go_on(self) -> None:
        """Queue the next points of every search that has room for some."""
        for sweep in self.sweeps.all():
            if _wants_points(sweep):
                with self.sweeps.changing():
                    self._fill(self.sweeps.require(sweep.name))

    def _fill(self, sweep: Sweep) -> None:
        """Queue points until as many are open as may be at once."""
        sweep = self._without_lost(sweep)
        while is_open(sweep):
            followed = progress.follow(sweep, self.queue)
            if sum(not one.has_ended for one in followed) >= sweep.at_once:
                return
            found = comparing.compare(followed)
            over = why_over(found)
            if over is not None:
                self._stop(sweep, over)
                return
            settings = suggestions.next_point(
                tuple(map(axis_of, sweep.axes)), [tried(one) for one in found.points], sweep.count
            )
            if settings is None:
                self._stop(sweep, "every combination was tried")
                return
            sweep = self._add(sweep, dict(settings))

    def _without_lost(self, sweep: Sweep) -> Sweep:
        """Forget points that were cut off before they were queued. Jobs tell where the record could not be written."""
        there = self.queue.with_tokens([point.token for point in sweep.points])
        kept = tuple(point for point in sweep.points if point.is_queued or point.token in there)
        return sweep.model_copy(update={"points": kept, "is_queued": sweep.is_queued or bool(there)})

    def _add(self, sweep: Sweep, settings: dict[str, str]) -> Sweep:
        (name,) = point_names.of(sweep.name, [settings], [point.name for point in sweep.points])
        try:
            waiting = self.make(sweep, name, settings)
        except SdxlTrainError as error:
            refused = Point(name=name, settings=settings, token="", refused=str(error.problems[0]))
            self.say(f"{sweep.name}: {name} is refused: {refused.refused}")
            return self._write(sweep, refused)
        point = Point(name=name, settings=settings, token=waiting.token, is_queued=False)
        self._write(sweep, point)
        return self._write(sweep, self._queued(point, waiting))

    def _queued(self, point: Point, waiting: Waiting) -> Point:
        self.submit([waiting], at_once=None)
        self.say(f"next point of the search: {point.name}")
        return point.model_copy(update={"is_queued": True})

    def _write(self, sweep: Sweep, point: Point) -> Sweep:
        others = tuple(one for one in sweep.points if one.name != point.name)
        changed = sweep.model_copy(update={"points": (*others, point)})
        self.sweeps.write(changed)
        return changed

    def _stop(self, sweep: Sweep, why: str) -> None:
        self.sweeps.write(sweep.model_copy(update={"is_stopped": True}))
        self.say(f"the search {sweep.name} ends after {len(sweep.points)} of {sweep.count} points: {why}")


def job_of(sweep: Sweep, name: str, settings: Mapping[str, str], prepare: Prepare, user_presets: Path) -> Waiting:
    """The job of a further point, which is made of the sweep's first one."""
    entry = Loaded(sweep.output, RunState.STOPPED, Record.model_validate_json(sweep.base))
    base = repeating.choices_of(entry, sweep.name, user_presets).choices
    prepared = prepare(planning.choices_of(base, name, settings))
    return entering.waiting(prepared, guards.parse(list(sweep.guards_off)), step_downs=sweep.step_downs)


def is_open(sweep: Sweep) -> bool:
    """Whether further points are to be made."""
    return sweep.is_queued and _wants_points(sweep)


def _wants_points(sweep: Sweep) -> bool:
    """Whether it is a search of this computer's queue that has not all of its points yet."""
    is_own = sweep.way is Way.SEARCH and not sweep.on_slurm
    return is_own and not sweep.is_stopped and len(sweep.points) < sweep.count


def why_over(found: Comparison) -> str | None:
    """Why no further point is to be made. None if one is."""
    if found.unlike:
        return f"its points were not validated alike: {found.unlike[0]} has changed"
    if len(found.points) >= _MOST_IN_VAIN and all(tried(one).knowledge is Knowledge.FAILED for one in found.points):
        is_done = any(one.followed.run is not None and one.followed.run.state is RunState.DONE for one in found.points)
        shown = "shown a loss on held-back pictures" if is_done else "trained"
        return f"none of its {len(found.points)} points has {shown}"
    return None


def axis_of(kept: KeptAxis) -> Axis:
    """What varies, as it was typed."""
    range_ = None if kept.range is None else Range(kept.range.low, kept.range.high, kept.range.is_whole)
    return Axis(kept.option, kept.values, range_)


def tried(one: RankedPoint) -> TriedPoint:
    """A point and what is known of it."""
    state, settings = one.followed.state, one.followed.point.settings
    loss = None if one.measured is None else one.measured.loss
    if not one.followed.has_ended:
        return TriedPoint(settings, Knowledge.OPEN)
    if state == progress.PRUNED:
        return TriedPoint(settings, Knowledge.BEHIND, loss)
    return TriedPoint(settings, Knowledge.FAILED if loss is None else Knowledge.MEASURED, loss)


@dataclass
class LagCheck:
    """Whether a point's run is to be stopped early. Cheap to ask: it looks only after a further validation."""

    follow: Callable[[], Sequence[FollowedPoint]]
    """Every point of the search as it is now."""
    token: str
    """The point's."""
    _seen_bytes: int = 0

    def __call__(self, folder: Path) -> str | None:
        """Why, in words. None to go on."""
        try:
            size = (folder / picture_losses.FILE).stat().st_size
        except OSError:
            return None
        if size == self._seen_bytes:
            return None
        self._seen_bytes = size
        try:
            followed = self.follow()
        except (SdxlTrainError, OSError):  # no reason to end a training; the next validation looks again
            return None
        mine = next((one for one in followed if one.point.token == self.token), None)
        if mine is None or mine.run is None:
            return None
        yardstick = mine.run.yardstick
        others = [one.validations for one in followed if _counts(one) and one.run is not None
                  and not measuring.different([yardstick, one.run.yardstick])]  # fmt: skip
        lag = pruning.look(mine.validations, others)
        return None if lag is None else lag.words


def _counts(one: FollowedPoint) -> bool:
    return one.has_ended and one.run is not None and one.run.state is RunState.DONE
