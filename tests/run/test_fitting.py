"""Which batch sizes are tried, and what is made of their outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
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
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.run import fitting, preparation, trial
from sdxl_train_cli.run.fitting import FitActions, TriedBatch
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.run.trial import Trial


@dataclass
class World:
    """What a fit needs, and what it was told."""

    asked: Choices
    folder: Path
    prepare: Callable[[Choices], Prepared]
    notes: list[str]

    def fit(self, largest: int, most: int = 16) -> list[TriedBatch]:
        """Fit with a GPU that takes batches up to `largest`."""

        def tried(prepared: Prepared) -> Trial:
            size = int(prepared.recipe.number("train_batch_size") or 0)
            return Trial(size <= largest, 5.0 + size, 1.0, 0.5, None if size <= largest else "full")

        return fitting.run(self.asked, most, self.folder, FitActions(self.prepare, tried, self.notes.append))


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


@given(st.integers(1, 300))
def test_sizes_grow_to_the_most_that_is_allowed(most: int) -> None:
    sizes = list(fitting.sizes(most))

    assert sizes == sorted(set(sizes))
    assert (sizes[0], sizes[-1]) == (1, most)


def test_the_first_sizes_are_close_and_later_ones_half_as_large_again() -> None:
    assert list(fitting.sizes(40)) == [1, 2, 3, 4, 6, 8, 12, 18, 27, 40]


@pytest.mark.parametrize(
    ("largest", "tried"),
    [
        (0, [1]),
        (1, [1, 2]),
        (4, [1, 2, 3, 4, 5, 6]),
        (9, [1, 2, 3, 4, 6, 8, 9, 10, 12]),
        (99, [1, 2, 3, 4, 6, 8, 12, 16]),
    ],
)
def test_growth_ends_where_it_does_not_fit_and_the_gap_is_halved(world: World, largest: int, tried: list[int]) -> None:
    found = world.fit(largest)

    assert [one.batch_size for one in found] == tried
    best = fitting.largest(found)
    assert (best.batch_size if best else 0) == min(largest, 16)


def test_each_trial_is_the_real_run_on_full_batches_of_the_largest_bucket(world: World) -> None:
    (first, second) = world.fit(2, most=2)
    recipe = second.prepared.recipe

    assert (second.width, second.height) == (1152, 896)
    assert (recipe.get("max_train_steps"), recipe.get("train_batch_size")) == (trial.STEPS, 2)
    assert recipe.get("save_every_n_steps") is None
    (subset,) = second.prepared.pictures.subsets
    assert subset.pictures * subset.num_repeats >= trial.STEPS * 2
    assert subset.pictures * subset.num_repeats % 2 == 0
    assert subset.image_dir != first.prepared.pictures.subsets[0].image_dir
    assert not world.asked.output.exists()


def test_what_the_real_run_can_not_cache_is_not_cached_in_the_trial(world: World, tmp_path: Path) -> None:
    """Beside regularization pictures a trigger rules the cache out, which takes more memory."""
    with_reg = replace(world.asked, regularisation=write_pictures(tmp_path / "reg"))

    (cached,) = world.fit(1, most=1)
    (found,) = replace(world, asked=with_reg, folder=tmp_path / "fit with reg").fit(1, most=1)

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
    (found,) = fitting.run(world.asked, 1, world.folder, trial_of)
    return found.trial


def test_a_trial_tells_ram_and_pace_of_real_processes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN_STEP_SECONDS", "0.3")
    found = real_trial(world, monkeypatch)

    assert found.fits
    assert found.resident_gib > 0.005
    assert found.peak_gib is None
    assert found.seconds_per_step == pytest.approx(0.3, abs=0.25)


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

    (found,) = fitting.run(world.asked, 1, world.folder, FitActions(world.prepare, on_gpu, world.notes.append))

    assert not found.trial.fits
    assert "Windows" in str(found.trial.why_not)
