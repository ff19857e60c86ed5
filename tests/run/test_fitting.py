"""Which settings are tried, and what is made of their outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import fake_nvml
import pytest
from conftest import write_pictures
from fake_nvml import Card
from hypothesis import given
from hypothesis import strategies as st

from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import TrainingError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.layout import Home
from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.run import fitting, preparation, trial
from sdxl_train_cli.run.fitting import FitActions, FitLimits, Fitted
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.run.trial import Trial

Speed = Callable[[int, bool, bool], float | None]
"""Pictures a second by batch size, checkpointing and --fast. None if it does not fit."""


@dataclass
class World:
    """What a fit needs, and what it was told."""

    asked: Choices
    folder: Path
    prepare: Callable[[Choices], Prepared]
    notes: list[str]

    def fit(self, speed: Speed, most: int = 16, seconds: float = 600) -> Fitted:
        """Fit on a machine of this speed."""

        def tried(prepared: Prepared) -> Trial:
            size = int(prepared.recipe.number("train_batch_size") or 0)
            pace = speed(size, prepared.recipe.is_on("gradient_checkpointing"), prepared.choices.fast)
            return Trial(pace is not None, 5.0 + size, 1.0, size / pace if pace else None, None if pace else "full")

        actions = FitActions(self.prepare, tried, self.notes.append)
        return fitting.run(self.asked, FitLimits(most, seconds), self.folder, actions)


def sequence(found: Fitted) -> list[tuple[int, bool, bool]]:
    """Batch size, checkpointing and --fast of each trial, in the order in which they were made."""
    return [(each.batch_size, each.settings.checkpointing, each.settings.fast) for each in found.tried]


@pytest.fixture
def world(tmp_path: Path, home: Path, model: Path, pictures: Path) -> World:
    asked = Choices(
        kind=Kind.LORA,
        preset="dim32-gc",
        model=str(model),
        data=pictures,
        output=tmp_path / "never",
        name="cat",
        trigger="ohwx",
        on_processor=True,
    )
    return World(asked, tmp_path / "fit", lambda choices: preparation.prepare(choices, Home(home), tmp_path), [])


@pytest.fixture
def trains(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trainer that counts as a real one, and so can be fast."""
    monkeypatch.setattr(Environment, "trains", True)
    monkeypatch.setattr(Environment, "has_module", lambda _self, _name: True)


@given(st.integers(1, 300))
def test_sizes_double_up_to_the_most_that_is_allowed(most: int) -> None:
    sizes = list(fitting.sizes(most))

    assert sizes == sorted(set(sizes))
    assert (sizes[0], sizes[-1]) == (1, most)
    assert all(after <= 2 * before for before, after in pairwise(sizes))


def test_a_growing_batch_is_tried_as_long_as_it_gains(world: World) -> None:
    """At batch 4 this machine is busy: 8 brings nothing, and 16 is not tried."""
    found = world.fit(lambda size, gc, _fast: min(size, 4) * (0.8 if gc else 1.0))

    assert sequence(found) == [
        (1, True, False),  # as asked for
        *((size, False, False) for size in (1, 2, 4, 8)),
        *((size, True, False) for size in (2, 4, 8)),
    ]
    assert found.fastest is not None
    assert (found.fastest.batch_size, found.fastest.settings.checkpointing) in {(4, False), (8, False)}
    assert found.fastest.pictures_per_second == 4


def test_where_memory_ends_the_middle_is_tried(world: World) -> None:
    found = world.fit(lambda size, gc, _fast: float(size) if size <= (6 if gc else 2) else None)

    assert sequence(found)[1:] == [
        *((size, False, False) for size in (1, 2, 4, 3)),
        *((size, True, False) for size in (2, 4, 8, 6)),
    ]
    assert found.fastest is not None
    assert (found.fastest.batch_size, found.fastest.settings.checkpointing) == (6, True)
    assert [each.trial.fits for each in found.ranked] == [True] * 6 + [False] * 3


@pytest.mark.usefixtures("trains")
def test_a_trainer_that_can_be_fast_is_compared_with_the_run_as_asked_for(world: World) -> None:
    found = world.fit(lambda size, _gc, fast: size * (3.0 if fast else 1.0), most=2)

    assert sequence(found) == [
        (1, True, False), (1, False, True), (2, False, True), (1, True, True), (2, True, True)
    ]  # fmt: skip
    assert found.as_asked is found.tried[0]
    assert found.fastest is not None
    assert (found.fastest.batch_size, found.fastest.settings.fast) == (2, True)


def test_checkpointing_that_was_set_by_hand_stays(world: World) -> None:
    by_hand = Override("gradient_checkpointing", False, Origin("--set"))
    asked = replace(world.asked, overrides=(*world.asked.overrides, by_hand))

    found = replace(world, asked=asked).fit(lambda size, _gc, _fast: float(size), most=2)

    assert sequence(found) == [(1, False, False), (2, False, False)]


def test_when_time_is_up_the_rest_is_named(world: World) -> None:
    found = world.fit(lambda size, _gc, _fast: float(size), seconds=0)

    assert sequence(found) == [(1, True, False)]
    assert found.fastest is found.tried[0]
    assert found.left_out == [
        "batch 1 without gradient checkpointing: time ran out",
        "batch 2 with gradient checkpointing: time ran out",
    ]


def test_what_can_not_fit_by_far_costs_no_trial(world: World) -> None:
    """Without checkpointing a LoRA needs 13 GB at least; with it, 6.7."""
    small = Gpu(0, "card", 8.0, 7.5, (8, 6), "550")

    def on_small(choices: Choices) -> Prepared:
        return replace(world.prepare(choices), device=small)

    found = replace(world, prepare=on_small).fit(lambda _size, gc, _fast: 1.0 if gc else None, most=2)

    assert sequence(found) == [(1, True, False), (2, True, False)]
    (left_out,) = found.left_out
    assert left_out.startswith("batch 1 without gradient checkpointing: needs ")
    assert left_out.endswith(", and 7.5 GB are free")


def test_each_trial_is_the_real_run_on_full_batches_of_the_largest_bucket(world: World) -> None:
    found = world.fit(lambda size, _gc, _fast: float(size), most=2)
    first, *_, last = found.tried
    recipe = last.prepared.recipe

    assert (found.bucket.width, found.bucket.height) == (1152, 896)
    assert (recipe.get("max_train_steps"), recipe.get("train_batch_size")) == (trial.TIMED_STEPS, 2)
    assert recipe.get("save_every_n_steps") is None
    (subset,) = last.prepared.pictures.subsets
    assert subset.pictures * subset.num_repeats >= trial.TIMED_STEPS * 2
    assert subset.pictures * subset.num_repeats % 2 == 0
    assert subset.image_dir != first.prepared.pictures.subsets[0].image_dir
    assert not world.asked.output.exists()


def test_what_the_real_run_can_not_cache_is_not_cached_in_the_trial(world: World, tmp_path: Path) -> None:
    """Beside regularization pictures a trigger rules the cache out, which takes more memory."""
    with_reg = replace(world.asked, regularisation=write_pictures(tmp_path / "reg"))

    cached = world.fit(lambda *_: 1.0, most=1).tried[0]
    found = replace(world, asked=with_reg, folder=tmp_path / "fit with reg").fit(lambda *_: 1.0, most=1).tried[0]

    assert cached.prepared.recipe.is_on("cache_text_encoder_outputs")
    assert found.prepared.recipe.get("cache_text_encoder_outputs") is None


def test_a_fit_on_the_processor_takes_material_that_is_made_for_it(
    world: World, installed: Environment, tmp_path: Path
) -> None:
    made = fitting.on_processor(world.asked, installed, tmp_path / "made", None)
    own = fitting.on_processor(world.asked, installed, tmp_path / "own", world.asked.data)

    assert made.on_processor
    assert made.data.is_dir()
    assert own.data == world.asked.data
    assert own.preset == "dim32-gc"


# --- trial.run with the stand-in


def real_trial(world: World, monkeypatch: pytest.MonkeyPatch, fault: str = "") -> Trial:
    monkeypatch.setenv("STANDIN_FAIL", fault)
    trial_of = FitActions(world.prepare, trial.run, world.notes.append)
    return fitting.run(world.asked, FitLimits(1, 0), world.folder, trial_of).tried[0].trial


def test_a_trial_tells_ram_and_pace_of_real_processes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_STEP_SECONDS", "0.3")
    found = real_trial(world, monkeypatch)

    assert found.fits
    assert found.resident_gib > 0.005
    assert found.peak_gib is None
    assert found.seconds_per_step == pytest.approx(0.3, abs=0.25)


def test_a_trial_ends_as_soon_as_it_knows_enough(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "ENOUGH_SECONDS", 0.5)
    monkeypatch.setenv("STANDIN_STEP_SECONDS", "0.4")
    found = real_trial(world, monkeypatch)
    log = next(world.folder.glob("trial-1/runs/*/*.log")).read_text(encoding="utf-8")

    assert found.fits
    assert found.seconds_per_step == pytest.approx(0.4, abs=0.3)
    assert f"{trial.TIMED_STEPS}/{trial.TIMED_STEPS}" not in log


def test_a_trainer_that_runs_out_of_memory_does_not_fit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    found = real_trial(world, monkeypatch, "oom@2")

    assert not found.fits
    assert found.why_not == "the GPU's memory ran out"


@pytest.mark.parametrize("fault", ["crash@1", "no-model-saved", "tokenizer"])
def test_any_other_failure_is_an_error_and_no_measurement(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    with pytest.raises(TrainingError) as caught:
        real_trial(world, monkeypatch, fault)

    assert "the trial of batch-1 failed" in str(caught.value.problems[0])


def test_a_full_gpu_on_windows_is_a_spill_and_the_trial_ends_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_nvml.install(monkeypatch, Card(used_gib=11.9))
    monkeypatch.setattr(trial, "SPILLS", True)
    monkeypatch.setenv("STANDIN_STEP_SECONDS", "300")

    def on_gpu(prepared: Prepared) -> Trial:
        return trial.run(replace(prepared, device=Gpu(0, "card", 12.0, 11.0, (8, 9), "550")))

    actions = FitActions(world.prepare, on_gpu, world.notes.append)
    found = fitting.run(world.asked, FitLimits(1, 0), world.folder, actions).tried[0]

    assert not found.trial.fits
    assert "Windows" in str(found.trial.why_not)
