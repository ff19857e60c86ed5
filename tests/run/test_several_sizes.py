"""A run whose datasets differ in size, from the choices to the command line, and the trials that stand for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import write_pictures

from sdxl_train_cli.environment import cache_layout
from sdxl_train_cli.errors import RecipeError
from sdxl_train_cli.layout import Home
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Value
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.records import history, runs
from sdxl_train_cli.run import fitting, preparation, repeating, summary, trial
from sdxl_train_cli.run.fitting import FitActions, FitLimits
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.run.trial import Trial

Prepare = Callable[[Choices], Prepared]
TWO = "[[datasets]]\nresolution = {}\nbatch_size = {}\n[[datasets.subsets]]\nimage_dir = 'cats'\n"


@pytest.fixture
def asked(tmp_path: Path, model: Path) -> Choices:
    write_pictures(tmp_path / "cats", 3, size=(1024, 1024))
    return Choices(
        kind=Kind.LORA, preset="dim32-gc", model=str(model), data=tmp_path / "cats", output=tmp_path / "output",
        name="cat", on_processor=True,
    )  # fmt: skip


@pytest.fixture
def prepare(tmp_path: Path, home: Path) -> Prepare:
    return lambda choices: preparation.prepare(choices, Home(home), tmp_path)


def at_sizes(asked: Choices, *sides: int, **more: Value) -> Choices:
    typed = [Override(option, value, Origin("--set")) for option, value in more.items()]
    return replace(asked, overrides=(*presets.with_sizes(*sides), *typed))


def two(asked: Choices, folder: Path, *datasets: tuple[int, int]) -> Choices:
    (folder / "two.toml").write_text("".join(TWO.format(*each) for each in datasets), encoding="utf-8")
    return replace(asked, data=folder / "two.toml")


def test_several_sizes_are_datasets_in_the_runs_own_folder(asked: Choices, prepare: Prepare) -> None:
    prepared = prepare(at_sizes(asked, 768, 1024))
    runs.write(prepared.run, repeating.record(prepared), prepared.pictures)

    written = json.loads(prepared.run.dataset_config.read_text(encoding="utf-8"))["datasets"]

    assert [(each["resolution"], each["max_bucket_reso"]) for each in written] == [
        ([768, 768], 1536),
        ([1024, 1024], 2048),
    ]
    assert len({each["subsets"][0]["image_dir"] for each in written}) == 1
    assert prepared.argv[prepared.argv.index("--resolution") + 1] == "1024,1024"
    assert "3 in 2 datasets, 2 buckets: 768x768, 1024x1024" in summary.lines(prepared)[0]


def test_a_rerun_trains_at_the_same_sizes(asked: Choices, prepare: Prepare, tmp_path: Path) -> None:
    first = prepare(at_sizes(asked, 768, 1024))
    runs.write(first.run, repeating.record(first), first.pictures)

    again = prepare(repeating.choices_of(history.load(first.run.folder), "again", tmp_path).choices)

    assert again.pictures == first.pictures
    assert again.recipe.sizes == (768, 1024)


def test_a_rerun_of_a_config_leaves_each_dataset_its_own(asked: Choices, prepare: Prepare, tmp_path: Path) -> None:
    first = prepare(two(asked, tmp_path, (1024, 1), (512, 2)))
    runs.write(first.run, repeating.record(first), first.pictures)

    again = prepare(repeating.choices_of(history.load(first.run.folder), "again", tmp_path).choices)

    assert again.pictures == first.pictures


def test_sizes_that_would_share_a_cache_on_disk_are_refused(
    asked: Choices, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, both = (at_sizes(asked, *sides, cache_latents_to_disk=True) for sides in ((768,), (768, 1024)))
    assert prepare(both).recipe.is_on("cache_latents_to_disk")
    monkeypatch.setattr(cache_layout, "keeps_sizes_apart", lambda _installed: False)

    with pytest.raises(RecipeError, match="3 pictures would train at several sizes") as caught:
        prepare(both)

    (way,) = caught.value.problems[0].ways
    assert way.settings == ("cache_latents_to_disk=null", "cache_latents=true")
    assert prepare(one).recipe.is_on("cache_latents_to_disk")


def test_a_step_down_counts_for_every_dataset(asked: Choices, prepare: Prepare, tmp_path: Path) -> None:
    choices = two(asked, tmp_path, (1024, 4), (512, 8))
    down = Override("train_batch_size", 2, Origin("--on-oom step-down"))

    assert prepare(choices).heaviest.number("train_batch_size") == 4
    assert prepare(replace(choices, overrides=(down,))).heaviest.number("train_batch_size") == 2


def test_a_small_size_beside_a_large_one_is_not_warned_of(asked: Choices, prepare: Prepare, tmp_path: Path) -> None:
    def warned(*datasets: tuple[int, int]) -> bool:
        prepared = prepare(two(asked, tmp_path, *datasets))
        return any("far below the 1024" in str(problem) for problem in prepared.warnings)

    assert not warned((1024, 1), (512, 2))
    assert warned((512, 1), (576, 2))


def test_a_fit_tries_the_largest_bucket_at_its_own_size(asked: Choices, prepare: Prepare, tmp_path: Path) -> None:
    actions = FitActions(prepare, lambda _prepared: Trial(True, 5.0, 1.0, 1.0), lambda _note: None)

    found = fitting.run(two(asked, tmp_path, (512, 4), (768, 2)), FitLimits(2, 600), tmp_path / "fit", actions)

    assert (found.bucket.width, found.batch_size) == (768, 2)
    for tried in found.tried:
        assert tried.prepared.recipe.get("resolution") in {768, "768"}
        assert len(tried.prepared.pictures.recipes(tried.prepared.recipe)) == 1


def test_a_trial_of_several_sizes_has_one(asked: Choices, prepare: Prepare, tmp_path: Path) -> None:
    real = prepare(at_sizes(asked, 640, 768))
    trial.write_pictures(real.readable[:1], tmp_path / "trial" / "pictures")

    one = prepare(trial.choices(real.choices, real.heaviest, tmp_path / "trial", 1))

    assert (one.recipe.sizes, one.recipe.get("resolution")) == ((), "768,768")
