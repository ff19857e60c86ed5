"""A search on a cluster: each element chooses its own point as it starts, and no two choose the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from swept_runs import SweptRuns

from sdxl_train_cli import files
from sdxl_train_cli.cluster import batch
from sdxl_train_cli.cluster.batch import Batch
from sdxl_train_cli.cluster.carrying import NoPointError
from sdxl_train_cli.cluster.task_folder import ChosenPoint, Task, TaskEnd
from sdxl_train_cli.errors import RecipeError, SetupError
from sdxl_train_cli.jobs.job import JobState, Waiting
from sdxl_train_cli.sweeps import axes, choosing, comparing, progress, pruning, searching, suggestions
from sdxl_train_cli.sweeps.axes import Axis
from sdxl_train_cli.sweeps.choosing import ClusterSearch
from sdxl_train_cli.sweeps.searching import LagCheck
from sdxl_train_cli.sweeps.suggestions import Knowledge, TriedPoint
from sdxl_train_cli.sweeps.sweep import KeptAxis, KeptRange, Point, Sweep, Way

RATES = KeptAxis(option="learning_rate", range=KeptRange(low=1e-5, high=1e-3, is_whole=False))
DIMS = KeptAxis(option="network_dim", values=("4", "8", "16"))
ALPHAS = KeptAxis(option="network_alpha", values=("1", "2", "4", "8"))


class Cluster:
    """A search that was submitted as arrays of so many elements."""

    def __init__(self, folder: Path, varied: Sequence[KeptAxis], *arrays: int) -> None:
        count = sum(arrays)
        waiting = [Waiting(f"cat-{number}", "lora", "gc", "{}", token=f"t{number}", search="cat")
                   for number in range(count)]  # fmt: skip
        self.batches, left = list[Batch](), list(waiting)
        for place, length in zip(batch.new_folders(folder / "cluster", len(arrays)), arrays, strict=True):
            self.batches.append(batch.create(place, left[:length], lambda _one: "", is_array=True))
            left = left[length:]
        points = tuple(Point(name=one.name, settings={}, token=one.token) for one in waiting)
        self.swept = SweptRuns(folder / "output")
        self.sweep: Sweep = self.swept.sweep.model_copy(
            update={"way": Way.SEARCH, "count": count, "axes": tuple(varied), "points": points, "on_slurm": True}
        )
        self.said = list[str]()

    def task(self, number: int) -> Task:
        tasks = [task for one in self.batches[0].group for task in one.tasks()]
        return next(task for task in tasks if task.token == f"t{number}")

    @property
    def search(self) -> ClusterSearch:
        def make(_sweep: Sweep, name: str, settings: Mapping[str, str]) -> Waiting:
            return Waiting(name, "lora", "gc", f'{{"of": "{settings}"}}')

        return ClusterSearch(self.sweep, self.batches[0].group, make, self.said.append, lambda _seconds: None)

    def choose(self, number: int) -> dict[str, str]:
        """Let an element start, and return what it has chosen."""
        found = self.search.with_point(self.task(number)).point
        assert found is not None
        return dict(found.settings)


def test_the_first_third_is_drawn_by_number_whoever_starts_first(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, [RATES], 12)
    drawn = axes.at_random([searching.axis_of(RATES)], 4)

    assert [cluster.choose(number) for number in (3, 0, 2, 1)] == [drawn[3], drawn[0], drawn[2], drawn[1]]
    later = [cluster.choose(number)["learning_rate"] for number in (4, 5)]
    assert len({*later, *(one["learning_rate"] for one in drawn)}) == 6
    names = [cluster.task(number).name for number in range(6)]
    assert names[4:] == [f"cat-lr{rate}" for rate in later]


def test_an_element_learns_from_those_that_have_ended_and_avoids_those_that_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(tmp_path, [RATES], 9)
    for number in range(4):
        rate = cluster.choose(number)["learning_rate"]
        cluster.swept.run(rate, lambda _picture, _step, number=number: 0.2 + number / 100)  # type: ignore[misc]
        run = cluster.swept.folder / f"cat-lr{rate}"
        text = (run / "run.json").read_text(encoding="utf-8").replace(f'"t{rate}"', f'"t{number}"')
        (run / "run.json").write_text(text, encoding="utf-8")
        cluster.task(number).note_run(run)
    cluster.task(0).note_end(TaskEnd(JobState.DONE, 0))
    cluster.task(1).note_end(TaskEnd(JobState.FAILED, 7, "no pictures"))
    cluster.task(2).note_end(TaskEnd(JobState.DONE, 0))
    asked = list[list[TriedPoint]]()
    real = suggestions.next_point

    def next_point(
        varied: Sequence[Axis], tried: Sequence[TriedPoint], count: int, number: int | None = None
    ) -> object:
        asked.append(list(tried))
        return real(varied, tried, count, number)

    monkeypatch.setattr(suggestions, "next_point", next_point)
    cluster.choose(4)

    assert [(one.knowledge, one.loss and round(one.loss, 4)) for one in asked[0]] == [
        (Knowledge.MEASURED, 0.2), (Knowledge.MEASURED, 0.21), (Knowledge.MEASURED, 0.22), (Knowledge.OPEN, None),
    ]  # fmt: skip


def test_elements_that_start_in_the_same_moment_choose_different_points(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, [DIMS, ALPHAS], 7, 5)
    search = replace(cluster.search, sleep=choosing.time.sleep)

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda number: search.with_point(cluster.task(number)).point, range(12)))

    assert len({tuple(one.settings.values()) for one in found if one is not None}) == 12
    assert all(one is not None and one.is_checked for one in found)


def test_of_two_that_have_noted_the_same_the_later_element_gives_way(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, [DIMS, ALPHAS], 12)
    same = {"network_dim": "16", "network_alpha": "8"}
    for number in (5, 7):
        cluster.task(number).note_point("cat-dim16-alpha8", ChosenPoint(same))  # and were killed

    assert cluster.choose(7) != same
    assert cluster.choose(5) == same


def test_an_element_gives_way_to_a_later_one_that_is_sure(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, [DIMS, ALPHAS], 12)
    same = {"network_dim": "16", "network_alpha": "8"}
    cluster.task(7).note_point("cat-dim16-alpha8", ChosenPoint(same, is_settled=True))
    cluster.task(5).note_point("cat-dim16-alpha8", ChosenPoint(same))

    assert cluster.choose(5) != same
    assert cluster.choose(7) == same


def test_an_element_waits_for_a_later_one_to_give_way_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(tmp_path, [DIMS, ALPHAS], 12)
    same = {"network_dim": "16", "network_alpha": "8"}
    for number in (5, 7):
        cluster.task(number).note_point("cat-dim16-alpha8", ChosenPoint(same))
    looks = list[float]()
    now = iter(range(1000))
    monkeypatch.setattr(choosing.time, "monotonic", lambda: float(next(now)))

    found = replace(cluster.search, sleep=looks.append).with_point(cluster.task(5)).point

    assert found is not None
    assert (found.settings, 1 < len(looks) < 100) == (same, True)


def test_an_element_that_is_started_again_keeps_its_point(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, [RATES], 6)
    chosen = [cluster.choose(number) for number in range(5)]

    assert [cluster.choose(number) for number in range(5)] == chosen
    assert cluster.task(4).kept.record == f'{{"of": "{chosen[4]}"}}'


def test_of_elements_that_have_ended_with_a_point_no_file_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDXL_TRAIN_CACHE", str(tmp_path / "cache"))
    cluster, opened, read = Cluster(tmp_path, [RATES], 5), set[str](), files.read_json
    for number in range(3):
        cluster.choose(number)
        cluster.task(number).note_end(TaskEnd(JobState.DONE, 0))
    task, search, taken = cluster.task(4), cluster.search, cluster.task(2).point
    first = search.follow()
    monkeypatch.setattr(files, "read_json", lambda path: opened.add(path.parent.name) or read(path))

    assert [one.state for one in search.follow()] == [one.state for one in first] == ["done"] * 3 + ["unknown"] * 2
    assert search._is_sure(task, {"learning_rate": "1"})  # noqa: SLF001 - one look
    assert taken is not None
    assert not search._is_sure(task, taken.settings)  # noqa: SLF001 - one look
    assert not opened & {"0", "1", "2"}
    assert opened >= {"3", "4"}


def test_an_end_without_a_point_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDXL_TRAIN_CACHE", str(tmp_path / "cache"))
    cluster, chosen = Cluster(tmp_path, [RATES], 2), ChosenPoint({"learning_rate": "2e-4"})
    cluster.task(0).note_end(TaskEnd(JobState.STOPPED, 0))
    cluster.search.follow()
    cluster.task(0).note_point("cat-lr2e-4", chosen)  # started again, and the drive still shows the old end

    assert not cluster.search._is_sure(cluster.task(1), chosen.settings)  # noqa: SLF001 - one look


def test_a_refused_point_is_noted_counts_and_is_checked_anew_when_it_is_retried(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, [RATES], 6)

    def refuse(_sweep: Sweep, _name: str, _settings: Mapping[str, str]) -> Waiting:
        raise RecipeError("too large")

    for number in range(3):
        with pytest.raises(RecipeError):
            replace(cluster.search, make=refuse).with_point(cluster.task(number))

    followed = progress.follow_tasks(cluster.sweep, cluster.batches)
    assert [(one.state, one.cause) for one in followed[:3]] == [("refused", "too large")] * 3
    with pytest.raises(NoPointError, match="none of its 3 points has trained"):
        cluster.choose(3)
    kept = cluster.task(0).point
    assert kept is not None
    assert cluster.choose(0) == kept.settings
    assert progress.follow_tasks(cluster.sweep, cluster.batches)[0].state != "refused"


def test_a_broken_environment_is_not_the_points_fault(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, [RATES], 6)

    def fail(_sweep: Sweep, _name: str, _settings: Mapping[str, str]) -> Waiting:
        raise SetupError("no environment")

    with pytest.raises(SetupError):
        replace(cluster.search, make=fail).with_point(cluster.task(0))

    point = cluster.task(0).point
    assert point is not None
    assert (point.refused, point.is_settled, point.is_checked) == (None, True, False)


def test_elements_beyond_the_combinations_end_without_a_point(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, [DIMS], 4)

    assert {cluster.choose(number)["network_dim"] for number in range(3)} == {"4", "8", "16"}
    with pytest.raises(NoPointError, match="every combination was tried"):
        cluster.choose(3)


def test_what_has_chosen_nothing_yet_is_followed_and_never_ranked(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, [RATES], 5)
    rate = cluster.choose(0)["learning_rate"]

    followed = progress.follow_tasks(cluster.sweep, cluster.batches)
    found = comparing.compare(followed)

    assert [one.point.name for one in followed] == [f"cat-lr{rate}", "cat-1", "cat-2", "cat-3", "cat-4"]
    assert (found.best, [dict(one.followed.point.settings) for one in found.points][1:]) == (None, [{}] * 4)


def test_a_point_is_pruned_by_the_runs_of_the_other_elements(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, [RATES], 6)
    for number in range(pruning.LEAST_POINTS + 1):
        rate = cluster.choose(number)["learning_rate"]
        loss = 0.9 if number == pruning.LEAST_POINTS else 0.1
        run = cluster.swept.run(rate, lambda picture, _step, loss=loss: loss + picture / 1000)  # type: ignore[misc]
        text = (run / "run.json").read_text(encoding="utf-8").replace(f'"t{rate}"', f'"t{number}"')
        (run / "run.json").write_text(text, encoding="utf-8")
        cluster.task(number).note_run(run)
        if number < pruning.LEAST_POINTS:
            cluster.task(number).note_end(TaskEnd(JobState.DONE, 0))
    behind, ahead = cluster.task(pruning.LEAST_POINTS), cluster.task(0)
    assert behind.run is not None
    assert ahead.run is not None

    assert "clearly behind the median of 3 points" in str(LagCheck(cluster.search.follow, behind.token)(behind.run))
    assert LagCheck(cluster.search.follow, ahead.token)(ahead.run) is None


def test_what_keeps_it_from_looking_at_the_others_ends_no_training(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, [RATES], 3)
    run = cluster.swept.run("1e-4", lambda _picture, _step: 0.1)
    for task in (cluster.batches[0].folder / "tasks").glob("*/task.json"):
        task.write_text("{", encoding="utf-8")

    assert LagCheck(cluster.search.follow, "t0")(run) is None
