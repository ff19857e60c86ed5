"""Points are ranked picture by picture, ties are called ties, and what was measured otherwise is not ranked."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import kept_runs
import pytest
from swept_runs import STEPS, SweptRuns, validated_runs
from web_browser import needs_browser, opened

from sdxl_train_cli.ranking import ranking
from sdxl_train_cli.ranking.evidence import Evidence
from sdxl_train_cli.ranking.verdict import Standing, Verdict
from sdxl_train_cli.records import ended_index, picture_losses
from sdxl_train_cli.records.picture_losses import Validation
from sdxl_train_cli.sweeps import comparing, point_runs, pruning, words
from sdxl_train_cli.sweeps.comparing import RankedPoint
from sdxl_train_cli.sweeps.point_runs import MeasuredRun
from sdxl_train_cli.sweeps.progress import FollowedPoint
from sdxl_train_cli.ui import sweep_page


@pytest.fixture
def swept(tmp_path: Path) -> SweptRuns:
    return SweptRuns(tmp_path)


def steady(loss: float) -> object:
    """Every picture has its own height, which drops out of differences."""
    return lambda number, step: loss + 0.1 * number - step / 100_000 + 0.0001 * (number % 3)


def noisy(loss: float, spread: float) -> object:
    return lambda number, step: loss + 0.1 * number - step / 100_000 + spread * (1 if number % 2 else -1)


def test_the_best_is_named_what_is_clearly_worse_and_what_is_a_tie(swept: SweptRuns) -> None:
    swept.run("1e-5", steady(0.30))
    swept.run("1e-4", steady(0.20))
    swept.run("1e-3", noisy(0.201, 0.05))

    found = comparing.compare(swept.follow())

    assert [(one.name, one.standing) for one in found.points] == [
        ("cat-lr1e-5", Standing.WORSE), ("cat-lr1e-4", Standing.BEST), ("cat-lr1e-3", Standing.TIED),
    ]  # fmt: skip
    assert found.best is not None
    assert found.best.measured is not None
    assert (found.looks, found.best.measured.step) == (9, 300)
    behind = found.points[0].behind
    assert behind is not None
    assert (round(behind.mean, 6), behind.pictures, behind.comparisons) == (0.1, 8, 8)
    told = " ".join(words.reasons(swept.sweep, found))
    assert words.headline(found) == "cat-lr1e-4, or one that can't be told apart from it"
    assert "clearly worse: cat-lr1e-5" in told
    assert "not told apart from it: cat-lr1e-3" in told
    assert "the lowest of 9 checkpoints of 3 points" in told
    assert "may lie beyond" not in told


def test_nothing_is_called_better_where_no_point_is_clearly_worse(swept: SweptRuns) -> None:
    for rate, loss in (("1e-5", 0.201), ("1e-4", 0.2), ("1e-3", 0.202)):
        swept.run(rate, noisy(loss, 0.02 if rate == "1e-4" else -0.03))

    found = comparing.compare(swept.follow())

    assert not found.is_sure
    assert words.headline(found) == "cat-lr1e-4 has the lowest loss, but no point is clearly worse"


@pytest.mark.parametrize("option", ["min_snr_gamma", "resolution", "noise_offset", "shuffle_caption"])
def test_points_that_were_measured_with_other_yardsticks_are_not_ranked(swept: SweptRuns, option: str) -> None:
    swept.run("1e-5", steady(0.30), settings={option: "1"})
    swept.run("1e-4", steady(0.20), settings={option: "2"})

    found = comparing.compare(swept.follow())

    assert (found.best, found.unlike) == (None, (option,))
    assert {one.standing for one in found.points} == {Standing.UNMEASURED}
    assert words.headline(found) == "the points can't be ranked: they were not validated alike"
    assert f"not the same for all: {option}" in words.reasons(swept.sweep, found)


def test_another_batch_size_gives_other_noise_and_is_ranked_with_that_said(swept: SweptRuns) -> None:
    swept.run("1e-5", steady(0.30), settings={"train_batch_size": 1})
    swept.run("1e-4", steady(0.20), settings={"train_batch_size": 4})

    found = comparing.compare(swept.follow())

    assert [one.standing for one in found.points] == [Standing.WORSE, Standing.BEST, Standing.UNMEASURED]
    assert found.other_noise == ("train_batch_size",)
    assert "its learning_rate is the highest that was tried: a better one may lie beyond" in words.reasons(
        swept.sweep, found
    )
    assert "the margins are wider" in " ".join(words.reasons(swept.sweep, found))


def test_a_dataset_that_changed_between_points_is_noticed(swept: SweptRuns) -> None:
    for rate, fingerprint in (("1e-5", "a"), ("1e-4", "b")):
        folder = swept.run(rate, steady(0.2))
        record = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**record, "dataset": {"fingerprint": fingerprint}}))

    assert comparing.compare(swept.follow()).unlike == ("pictures and captions",)


def test_a_failed_point_and_one_without_validation_are_left_out(swept: SweptRuns) -> None:
    swept.run("1e-4", steady(0.2))
    folder = swept.run("1e-3", None)
    (folder / "outcome.json").write_text('{"outcome": "failed", "cause": "NaN"}')

    found = comparing.compare(swept.follow())

    assert [one.followed.state for one in found.points] == ["removed", "done", "failed"]
    assert found.best is found.points[1]
    assert found.points[2].followed.cause == "NaN"


def test_a_point_that_still_trains_or_was_stopped_early_is_not_ranked(swept: SweptRuns) -> None:
    swept.run("1e-5", steady(0.2))
    for rate, outcome in (("1e-4", {"outcome": "stopped", "pruned": "behind"}), ("1e-3", {"outcome": "stopped"})):
        folder = swept.run(rate, steady(0.1))
        (folder / "outcome.json").write_text(json.dumps(outcome))

    found = comparing.compare(swept.follow())

    assert [(one.followed.state, one.standing) for one in found.points] == [
        ("done", Standing.BEST), ("pruned", Standing.UNMEASURED), ("stopped", Standing.UNMEASURED),
    ]  # fmt: skip
    assert "stopped early, and might have caught up: cat-lr1e-4" in words.reasons(swept.sweep, found)
    assert words.row(swept.sweep, found.points[1])[-1] == "not ranked"


def test_a_stopped_search_has_nothing_still_to_come(swept: SweptRuns) -> None:
    swept.run("1e-5", steady(0.2))
    found = comparing.compare(swept.follow())
    search = swept.sweep.model_copy(update={"count": 7})

    assert "4 points of 7 still to come: this may change" in words.reasons(search, found)
    stopped = search.model_copy(update={"is_stopped": True})
    assert "still to come" not in " ".join(words.reasons(stopped, found))


def test_another_runs_folder_of_the_same_name_is_not_taken(swept: SweptRuns) -> None:
    folder = swept.run("1e-4", steady(0.2))
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, "inputs": {**record["inputs"], "job": "other"}}))

    assert [one.run for one in swept.follow()] == [None, None, None]


def test_a_point_is_pruned_only_where_it_is_clearly_behind_the_median(swept: SweptRuns) -> None:
    for rate, loss in (("1e-5", 0.30), ("1e-4", 0.20), ("1e-3", 0.25)):
        swept.run(rate, steady(loss))
    others = [one.validations for one in swept.follow()]
    far = picture_losses.load(SweptRuns(swept.folder / "a").run("1e-5", steady(0.35)) / picture_losses.FILE)
    near = picture_losses.load(SweptRuns(swept.folder / "b").run("1e-5", noisy(0.26, 0.2)) / picture_losses.FILE)

    lag = pruning.look(far[:1], others)

    assert lag is not None
    assert (round(lag.behind.mean, 6), lag.step, lag.points) == (0.1, 100, 3)
    assert "it might have caught up" in lag.words
    assert pruning.look(near, others) is None
    assert pruning.look(far[:1], others[:2]) is None
    assert pruning.look((), others) is None
    late = [looks[-1:] for looks in others]
    assert pruning.look(far[:1], late) is None  # what the others were at step 100 is not known


def test_the_page_holds_every_point_and_its_samples(swept: SweptRuns) -> None:
    for rate, loss in (("1e-5", 0.30), ("1e-4", 0.20)):
        folder = swept.run(rate, steady(loss))
        kept_runs.draw_samples(folder, "000100_00_20260102100000", "000300_00_20260102100500")

    shown = sweep_page.content(swept.sweep, comparing.compare(swept.follow()))

    points, samples = shown["points"], shown["samples"]
    assert [one["name"] for one in points] == ["cat-lr1e-4", "cat-lr1e-5", "cat-lr1e-3"]  # type: ignore[attr-defined]
    assert points[1]["margin"] > 0  # type: ignore[index]
    assert shown["axes"][0]["log"] is True  # type: ignore[index]
    assert [(one["point"], one["moment"]) for one in samples["pictures"]] == [  # type: ignore[index]
        ("cat-lr1e-4", "step 300"), ("cat-lr1e-5", "step 300"),
    ]  # fmt: skip
    assert "cat-lr1e-5" in sweep_page.html(swept.sweep, comparing.compare(swept.follow()))


def test_what_was_found_of_points_that_have_ended_is_remembered(
    swept: SweptRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = swept.run("1e-5", steady(0.30))
    swept.run("1e-4", steady(0.20))
    first = comparing.compare(swept.follow())
    judge, judged = ranking.judge, list[str]()
    monkeypatch.setattr(ranking, "judge", lambda known: judged.append(known.name) or judge(known))

    assert comparing.compare(swept.follow()) == first
    assert judged == []

    validated_runs.write_losses(folder, STEPS, steady(0.10))
    changed = comparing.compare(swept.follow())
    assert (judged, changed.best and changed.best.name) == (["cat-lr1e-5"], "cat-lr1e-5")
    for path in folder.glob("*.safetensors"):
        path.unlink()
    emptied = comparing.compare(swept.follow())
    assert emptied.best is not None
    assert (emptied.best.name, emptied.points[0].checkpoint) == ("cat-lr1e-4", None)


def test_ctrl_c_keeps_what_was_read_of_points(swept: SweptRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    for rate in ("1e-5", "1e-4", "1e-3"):
        swept.run(rate, steady(0.30))
    judge, judged = ranking.judge, list[str]()

    def interrupted(known: Evidence) -> Verdict:
        judged.append(known.name)
        if len(judged) == 2:
            raise KeyboardInterrupt
        return judge(known)

    monkeypatch.setattr(ranking, "judge", interrupted)
    with pytest.raises(KeyboardInterrupt):
        comparing.compare(swept.follow())
    comparing.compare(swept.follow())

    assert judged == ["cat-lr1e-5", "cat-lr1e-4", "cat-lr1e-4", "cat-lr1e-3"]


def test_runs_that_were_deleted_are_forgotten(swept: SweptRuns) -> None:
    folders = [swept.run(rate, steady(0.30)) for rate in ("1e-5", "1e-4", "1e-3")]
    comparing.compare(swept.follow())
    shutil.rmtree(folders[0])
    point_runs.measure_all(point_runs.load_all(folders[1:2]).values())

    for what in ("point", "measured"):
        assert set(ended_index.load(swept.folder, what)) == {folder.name for folder in folders[1:]}, "one was not asked"


def test_what_another_version_remembered_is_read_anew(swept: SweptRuns) -> None:
    swept.run("1e-5", steady(0.30))
    first = swept.follow()
    for what in ("point", "measured"):
        rows = ended_index.load(swept.folder, what).values()
        ended_index.keep(
            swept.folder, [row._replace(facts=[*row.facts[:-2], {"new": 1}, None]) for row in rows], what=what
        )

    assert swept.follow() == first
    assert comparing.compare(first).best is not None


@pytest.fixture
def many(tmp_path: Path) -> tuple[SweptRuns, comparing.Comparison]:
    """Two hundred points, as they would have been compared."""
    swept = SweptRuns(tmp_path, [f"{number}e-6" for number in range(1, 201)])
    looks = Validation(100, None, {"a": 1.0, "b": 2.0}, {})
    points = tuple(
        RankedPoint(
            FollowedPoint(point, None, None),
            MeasuredRun(((100, 1.5 + at),), (100,), None, replace(looks, held_back={"a": 1.0 + at, "b": 2.0 + at})),
            Standing.BEST if at == 0 else Standing.WORSE,
        )
        for at, point in enumerate(swept.sweep.points)
    )
    return swept, comparing.Comparison(points, points[0], looks=200)


def test_of_many_points_the_best_are_shown_and_the_rest_faint(many: tuple[SweptRuns, comparing.Comparison]) -> None:
    swept, found = many

    shown = sweep_page.content(swept.sweep, found)

    drawn = [one for one in shown["points"] if one["steps"]]  # type: ignore[attr-defined]
    assert [one["name"] for one in drawn if not one["is_faint"]] == [f"cat-lr{n}e-6" for n in range(1, 13)]
    assert sum(one["is_faint"] for one in drawn) == 120
    assert shown["curves_note"] == "In colour: the 12 lowest. Faint: 120 of the other 188, evenly chosen by loss."
    assert len(shown["points"]) == 200  # type: ignore[arg-type]


@needs_browser
def test_a_browser_draws_many_points_and_shows_all_when_asked(
    many: tuple[SweptRuns, comparing.Comparison], tmp_path: Path
) -> None:
    sweep_page.write(many[0].sweep, many[1], tmp_path / "page.html")

    with opened(tmp_path / "page.html") as (page, said):
        before = page.locator("table").first.locator("tbody tr").count()
        page.get_by_role("button", name="Show all 200").click()
        assert (before, page.locator("table").first.locator("tbody tr").count()) == (25, 200)
        assert page.locator(".scatter circle").count() == 200
        assert page.locator(".u-legend .u-series:visible").count() == 13
        assert page.get_by_text("In colour: the 12 lowest").count() == 1
    assert said == []


def test_a_cause_of_many_points_is_told_once(tmp_path: Path) -> None:
    swept = SweptRuns(tmp_path, [f"{number}e-6" for number in range(1, 11)])
    refused = [point.model_copy(update={"refused": "no room"}) for point in swept.sweep.points]
    found = comparing.Comparison(tuple(RankedPoint(FollowedPoint(point, None, None)) for point in refused), None)

    (told,) = words.causes(found)
    assert told.startswith("cat-lr1e-6, cat-lr2e-6")
    assert told.endswith("and 2 more: no room")
