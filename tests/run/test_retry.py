"""A run that runs out of memory starts again one rung lower, at most as often as allowed, and says what it changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sdxl_train_cli.errors import GpuMemoryError, Problem, TrainingError
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory.step_down import Reduction
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.run import preparation, retry
from sdxl_train_cli.run.preparation import Prepared
from sdxl_train_cli.run.retry import RunActions
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.run.training import RunResult

OUT = "training failed at step 1 of 6: the GPU's memory ran out"


class Card:
    """A GPU on which a run fits, or does not."""

    def __init__(self, home: Path, fits: Callable[[Recipe], bool]) -> None:
        self.home, self.fits = home, fits
        self.tried: list[Recipe] = []
        self.told: list[Problem] = []

    def prepare(self, choices: Choices) -> Prepared:
        return preparation.prepare(choices, Home(self.home), self.home / "presets")

    def carry_out(self, prepared: Prepared) -> RunResult:
        self.tried.append(prepared.recipe)
        if not self.fits(prepared.recipe):
            raise GpuMemoryError(OUT, "full output: train.log")
        return RunResult(prepared.run.result, 6, 1.0, 0.1)

    def train(self, choices: Choices, step_downs: int) -> RunResult:
        return self.start(choices, self.carry_out, step_downs)

    def start(self, choices: Choices, carry_out: Callable[[Prepared], RunResult], step_downs: int) -> RunResult:
        actions = RunActions[Prepared](carry_out, self.lower, self.told.append)
        prepared, presets = self.prepare(choices), self.home / "presets"
        return retry.carry_out(prepared, actions, retry.NEW, step_downs=step_downs, user_presets=presets)

    def lower(self, prepared: Prepared, reduction: Reduction) -> Prepared:
        return self.prepare(retry.apply_reduction(prepared.choices, reduction))


@pytest.fixture
def choices(tmp_path: Path, model: Path, pictures: Path) -> Choices:
    return Choices(
        kind=Kind.LORA,
        preset="dim32",
        model=str(model),
        data=pictures,
        output=tmp_path / "output",
        name="cat",
        overrides=(Override("train_batch_size", 4, "--batch-size"),),
        on_processor=True,
    )


def effective(recipe: Recipe) -> float:
    return (recipe.number("train_batch_size") or 1) * (recipe.number("gradient_accumulation_steps") or 1)


def test_it_goes_down_until_it_fits_and_keeps_the_effective_batch(home: Path, choices: Choices) -> None:
    card = Card(home, lambda recipe: recipe.number("train_batch_size") == 1)

    card.train(choices, step_downs=5)

    assert [recipe.number("train_batch_size") for recipe in card.tried] == [4, 4, 2, 1]
    assert [recipe.is_on("gradient_checkpointing") for recipe in card.tried] == [False, True, True, True]
    assert {effective(recipe) for recipe in card.tried} == {4}
    assert [str(problem) for problem in card.told] == [OUT] * 3
    assert "gradient_checkpointing=true" in str(card.told[0].hint)
    assert "train_batch_size=2" in str(card.told[1].hint)
    assert str(card.tried[-1].origin("train_batch_size")) == "--on-oom step-down"


def test_it_gives_up_after_as_many_times_as_allowed(home: Path, choices: Choices) -> None:
    card = Card(home, lambda _recipe: False)

    with pytest.raises(GpuMemoryError) as raised:
        card.train(choices, step_downs=2)

    assert len(card.tried) == 3
    assert str(raised.value) == OUT
    assert "--on-oom step-down --step-downs 4\nfull output: train.log" in str(raised.value.problems[0].hint)


def test_without_leave_it_names_what_would_fit(home: Path, choices: Choices) -> None:
    card = Card(home, lambda _recipe: False)

    with pytest.raises(GpuMemoryError) as raised:
        card.train(choices, step_downs=0)

    hint = str(raised.value.problems[0].hint)
    assert len(card.tried) == 1
    assert "--set gradient_checkpointing=true" in hint
    assert "sdxl-train lora --preset" in hint
    assert "--on-oom step-down" in hint


def test_another_failure_is_not_tried_again(home: Path, choices: Choices) -> None:
    card = Card(home, lambda _recipe: True)

    def fail(_prepared: Prepared) -> RunResult:
        raise TrainingError("the disk is full")

    with pytest.raises(TrainingError, match="the disk is full"):
        card.start(choices, fail, step_downs=3)
    assert card.told == []


def test_the_ladder_ends(home: Path, choices: Choices) -> None:
    card = Card(home, lambda _recipe: False)

    with pytest.raises(GpuMemoryError) as raised:
        card.train(replace(choices, preset="dim128"), step_downs=99)

    hint = str(raised.value.problems[0].hint)
    assert 4 < len(card.tried) < 20
    assert "there is nothing smaller to step down to" in hint
    assert "--on-oom" not in hint


def test_samples_are_given_up_first_since_they_cost_nothing_of_what_is_learned(home: Path, choices: Choices) -> None:
    card = Card(home, lambda recipe: recipe.get("sample_prompts") is None)

    card.train(replace(choices, samples=("a cat",)), step_downs=1)

    assert [recipe.get("sample_every_n_steps") is None for recipe in card.tried] == [False, True]
    assert [recipe.is_on("gradient_checkpointing") for recipe in card.tried] == [False, False]
    assert "no sample pictures" in (card.told[0].hint or "")
