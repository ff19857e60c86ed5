"""A search goes on from what its points have shown, makes no point twice, and loses none to a kill."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from swept_runs import SweptRuns

from sdxl_train_cli.errors import RecipeError, UsageError
from sdxl_train_cli.jobs.job import KeptResume, Waiting
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.sweeps import searching, suggestions
from sdxl_train_cli.sweeps.axes import Axis, Range
from sdxl_train_cli.sweeps.searching import Searches
from sdxl_train_cli.sweeps.store import Sweeps
from sdxl_train_cli.sweeps.submitting import LocalQueue
from sdxl_train_cli.sweeps.suggestions import Knowledge, TriedPoint
from sdxl_train_cli.sweeps.sweep import KeptAxis, KeptRange, Point, Sweep, Way

RATES = Axis("learning_rate", range=Range(1e-5, 1e-1, is_whole=False))
DIMS = Axis("network_dim", ("4", "8"))


def test_suggestions_come_to_where_the_loss_is_low() -> None:
    tried: list[TriedPoint] = []
    for number in range(16):
        settings = suggestions.next_point((RATES, DIMS), tried, 16)
        assert settings is not None
        away = abs(float(settings["learning_rate"]) / 1e-3 - 1)
        is_lost = number in {2, 3}
        tried.append(
            TriedPoint(settings, Knowledge.FAILED if is_lost else Knowledge.MEASURED, None if is_lost else away)
        )

    late = sorted(float(one.settings["learning_rate"]) for one in tried[8:])
    assert 2e-4 < late[len(late) // 2] < 5e-3
    assert len({tuple(one.settings.values()) for one in tried}) == 16
    assert suggestions.next_point((RATES, DIMS), tried, 16) == suggestions.next_point((RATES, DIMS), tried, 16)


def test_a_small_space_is_tried_whole_and_no_point_twice() -> None:
    tried: list[TriedPoint] = []
    while (settings := suggestions.next_point((DIMS,), tried, 9)) is not None:
        tried.append(TriedPoint(settings, Knowledge.OPEN))

    assert sorted(one.settings["network_dim"] for one in tried) == ["4", "8"]


def test_without_optuna_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)

    with pytest.raises(UsageError) as caught:
        suggestions.require()

    assert "pip install" in str(caught.value.problems[0].hint)


class Search:
    """A search whose points are jobs made without a preparation."""

    def __init__(self, folder: Path) -> None:
        self.said: list[str] = []
        self.queue, self.sweeps = Queue(folder / "queue"), Sweeps(folder / "sweeps")
        self.swept = SweptRuns(folder / "output")
        first = Waiting("cat-lr1e-4", "lora", "dim32-gc", "{}", token="t1")  # noqa: S106 - a job's mark
        self.queue.add(first)
        sweep = self.swept.sweep.model_copy(update={
            "way": Way.SEARCH, "count": 4, "output": folder / "output",
            "axes": (KeptAxis(option="learning_rate", range=KeptRange(low=1e-5, high=1e-3, is_whole=False)),),
            "points": (Point(name="cat-lr1e-4", settings={"learning_rate": "1e-4"}, token="t1"),),  # noqa: S106
        })  # fmt: skip
        with self.sweeps.changing():
            self.sweeps.write(sweep)

    @property
    def searches(self) -> Searches:
        """As a command makes them, but for jobs that are not checked."""
        return Searches(
            self.sweeps,
            self.queue,
            lambda _sweep, name, _settings: Waiting(name, "lora", "dim32-gc", "{}"),
            LocalQueue(self.queue),
            self.said.append,
        )

    def end(self, state: str) -> None:
        """Let every open job end so."""
        for job in self.queue.jobs():
            if not job.state.has_ended:
                claimed = self.queue.claim(job.id, [])
                assert claimed is not None
                self.queue.end(claimed, type(job.state)(state), 0)

    @property
    def sweep(self) -> Sweep:
        return self.sweeps.require("cat")


@pytest.fixture
def search(tmp_path: Path) -> Search:
    return Search(tmp_path)


def test_the_next_point_is_made_when_one_has_ended_and_not_before(search: Search) -> None:
    search.searches.go_on()
    assert len(search.sweep.points) == 1

    search.end("stopped")
    search.searches.go_on()
    search.searches.go_on()

    assert len(search.sweep.points) == 2
    assert [job.token for job in search.queue.jobs()] == [point.token for point in search.sweep.points]


def test_a_search_none_of_whose_points_trains_ends(search: Search) -> None:
    for _ in range(6):
        search.end("failed")
        search.searches.go_on()

    assert len(search.sweep.points) == 3
    assert search.sweep.is_stopped
    assert "none of its 3 points has trained" in search.said[-1]


def test_a_point_that_was_cut_off_before_it_was_queued_is_made_anew(search: Search) -> None:
    search.end("stopped")
    lost = Point(name="cat-lost", settings={"learning_rate": "2e-4"}, token="t2", is_queued=False)  # noqa: S106
    with search.sweeps.changing():
        search.sweeps.write(search.sweep.model_copy(update={"points": (*search.sweep.points, lost)}))

    search.searches.go_on()

    names = [point.name for point in search.sweep.points]
    assert (names[0], len(names), "cat-lost" in names) == ("cat-lr1e-4", 2, False)


def test_a_point_that_was_queued_before_the_kill_is_kept(search: Search) -> None:
    search.queue.add(Waiting("cat-lr2e-4", "lora", "dim32-gc", "{}", token="t2"))  # noqa: S106
    half = Point(name="cat-lr2e-4", settings={"learning_rate": "2e-4"}, token="t2", is_queued=False)  # noqa: S106
    with search.sweeps.changing():
        search.sweeps.write(search.sweep.model_copy(update={"points": (*search.sweep.points, half)}))
    search.end("failed")

    search.searches.go_on()

    assert [point.name for point in search.sweep.points][:2] == ["cat-lr1e-4", "cat-lr2e-4"]
    assert len(search.sweep.points) == 3


def test_a_stopped_search_asks_for_no_further_point(search: Search) -> None:
    search.sweeps.change("cat", lambda one: one.model_copy(update={"is_stopped": True}))
    search.end("stopped")

    search.searches.go_on()

    assert len(search.sweep.points) == 1
    assert not searching.is_open(search.sweep)


def test_a_search_whose_record_could_not_be_marked_goes_on_by_its_jobs(search: Search) -> None:
    with search.sweeps.changing():
        search.sweeps.write(search.sweep.model_copy(update={"is_queued": False}))
    search.end("stopped")

    search.searches.go_on()

    assert (len(search.sweep.points), search.sweep.is_queued) == (2, True)
    with search.sweeps.changing():
        search.sweeps.write(search.sweep.model_copy(update={"is_queued": False, "points": search.sweep.points[:1]}))
    search.queue.remove(1)
    search.end("stopped")
    search.searches.go_on()
    assert len(search.sweep.points) == 1


def test_a_sweep_that_was_cut_off_before_its_points_were_queued_makes_room(search: Search) -> None:
    with search.sweeps.changing():
        search.sweeps.write(search.sweep.model_copy(update={"is_queued": False}))
        assert search.sweeps.free_name("cat", lambda _sweep: True) == "cat-2"
        assert search.sweeps.free_name("cat", lambda _sweep: False) == "cat"
        search.sweeps.write(search.sweep.model_copy(update={"is_queued": True}))
        assert search.sweeps.free_name("cat", lambda _sweep: False) == "cat-2"
        (search.sweeps.folder / "cat-2").mkdir()  # cut off while it was made
        assert search.sweeps.free_name("cat", lambda _sweep: False) == "cat-2"
        (search.sweeps.folder / "cat-2" / "sweep.json").write_text('{"of": "a newer version"}', encoding="utf-8")
        assert search.sweeps.free_name("cat", lambda _sweep: False) == "cat-3"


def test_a_point_that_cannot_train_is_kept_as_refused_and_counts(search: Search) -> None:
    def refuse(_sweep: Sweep, _name: str, _settings: object) -> Waiting:
        raise RecipeError("too large")

    search.end("stopped")
    replace(search.searches, make=refuse).go_on()

    assert [point.refused for point in search.sweep.points] == [None, "too large", "too large"]
    assert search.sweep.is_stopped


@pytest.mark.parametrize("more", [{"search": "cat"}, {"run": Path("cat")}, {"resume": KeptResume()}])
def test_a_job_that_a_cluster_alone_can_carry_out_is_not_queued_without_what_it_was_for(
    tmp_path: Path, more: dict[str, Any]
) -> None:
    queue, plain = Queue(tmp_path / "queue"), Waiting("cat", "lora", "gc", "{}")

    with pytest.raises(ValueError, match="for a cluster"):
        LocalQueue(queue)([plain, replace(plain, **more)])
    assert queue.jobs() == []

    LocalQueue(queue)([plain])
    assert len(queue.jobs()) == 1
