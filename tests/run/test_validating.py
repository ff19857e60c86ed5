"""Validation by default: where there are enough pictures, on a share that sd-scripts splits cleanly."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Result, write_pictures
from hypothesis import given
from hypothesis import strategies as st

from sdxl_train_cli.environment import environment
from sdxl_train_cli.run import validating


@given(st.integers(min_value=validating.LEAST_PICTURES, max_value=5000))
def test_each_picture_is_trained_on_or_validated_on_and_never_both(count: int) -> None:
    wanted = max(min(0.1, validating.MOST_HELD_BACK / count), validating.LEAST_HELD_BACK / count)
    share = validating.clean_share([count], wanted)

    assert share is not None
    trained, held = math.ceil(count * (1 - share)), round(count * share)  # split_train_val
    assert trained + held == count
    assert 3 <= held <= 27


def test_shares_suit_several_folders_at_once() -> None:
    share = validating.clean_share([46, 31, 17], 0.1)

    assert share is not None
    assert all(math.ceil(each * (1 - share)) + round(each * share) == each for each in (46, 31, 17))


@pytest.mark.parametrize(("epochs", "every"), [(40, 4), (50, 5), (10, 1), (3, 1), (1, 1), (100, 10), (48, 6)])
def test_it_validates_about_ten_times_and_at_the_end(epochs: int, every: int) -> None:
    assert validating.suitable_epochs(epochs) == every


@pytest.fixture
def line(tmp_path: Path, model: Path) -> Callable[[int], list[object]]:
    def made(count: int, kind: str = "lora") -> list[object]:
        folder = write_pictures(tmp_path / f"p{count}", 0)
        for number in range(count):  # small and different
            small = write_pictures(tmp_path / "one" / f"{count}-{number}", 1, f"a photo of cat {number}")
            (small / "0.png").rename(folder / f"{number:03}.png")
            (small / "0.txt").rename(folder / f"{number:03}.txt")
        return [kind, "--model", model, "--data", folder, "--output", tmp_path / "output", "--dry-run",
                "--gpu-memory", 48]  # fmt: skip

    return made


def test_forty_pictures_are_enough_and_fewer_are_not(
    main: Callable[..., Result], line: Callable[[int], list[object]]
) -> None:
    enough, few = main(*line(40)), main(*line(39))

    assert "--validation_split 0.1 " in f"{enough.stdout.strip()} "
    assert "--validation_seed 42" in enough.stdout
    assert "validation: 4 pictures held back" in enough.stderr
    assert "pictures: 36 in 1 bucket" in enough.stderr
    assert "validat" not in few.stdout + few.stderr


def test_it_is_switched_on_and_off_by_hand(main: Callable[..., Result], line: Callable[[int], list[object]]) -> None:
    off, on = main(*line(40), "--no-validate"), main(*line(12), "--validate")

    assert "validat" not in off.stdout
    assert "--validation_split" in on.stdout
    assert "held back" in on.stderr


@pytest.mark.parametrize(("count", "held"), [(2, 1), (3, 1), (5, 1), (8, 2), (12, 3)])
def test_of_few_pictures_some_are_held_back_and_most_are_trained_on(
    main: Callable[..., Result], line: Callable[[int], list[object]], count: int, held: int
) -> None:
    result = main(*line(count), "--validate")

    assert f"validation: {held} picture{'s' * (held > 1)} held back" in result.stderr
    assert f"pictures: {count - held} in 1 bucket" in result.stderr


def test_a_single_picture_cannot_be_held_back(main: Callable[..., Result], line: Callable[[int], list[object]]) -> None:
    result = main(*line(1), "--validate")

    assert result.code == 3
    assert "hint:  leave out --validate" in result.stderr


def test_steps_of_ones_own_are_told_beside_the_epochs(
    main: Callable[..., Result], line: Callable[[int], list[object]]
) -> None:
    result = main(*line(12), "--validate", "--set", "validate_every_n_steps=7")

    assert "looked at after each epoch and every 7 steps" in result.stderr


def test_a_share_of_ones_own_wins(main: Callable[..., Result], line: Callable[[int], list[object]]) -> None:
    own = main(*line(40), "--set", "validation_split=0.25", "--set", "validation_seed=1")

    assert "--validation_split 0.25" in own.stdout
    assert "--validation_seed 1" in own.stdout


def test_dreambooth_is_refused_in_words(main: Callable[..., Result], line: Callable[[int], list[object]]) -> None:
    plain, asked = main(*line(40, "dreambooth")), main(*line(41, "dreambooth"), "--validate")
    assert asked.stderr.count("error:") == 1

    assert plain.code == 0, plain.stderr
    assert "validat" not in plain.stdout
    assert asked.code == 3
    assert "sdxl_train.py of this sd-scripts has no validation" in asked.stderr
    assert "hint:  leave out --validate" in asked.stderr


def test_pictures_that_are_repeated_differently_are_left_alone(
    main: Callable[..., Result], model: Path, tmp_path: Path
) -> None:
    write_pictures(tmp_path / "d" / "1_cat", 30)
    write_pictures(tmp_path / "d" / "5_dog", 30)

    result = main("lora", "--model", model, "--data", tmp_path / "d", "--dry-run", "--gpu-memory", 48)

    assert result.code == 0, result.stderr
    assert "validat" not in result.stdout


@pytest.mark.parametrize(
    ("saved", "whole", "every"),
    [(500, 2000, 250), (100, 1000, 100), (50, 2000, 100), (1, 10, 1), (1, 100, 5), (2, 10, 1), (1000, 2000, 200)],
)
def test_it_validates_where_a_checkpoint_is_saved(saved: int, whole: int, every: int) -> None:
    assert validating.between(saved, whole) == every


def test_as_many_trained_pictures_are_counted_as_the_trainers_script_measures() -> None:
    text = (environment.INSIDE / "validated.py").read_text(encoding="utf-8")

    assert f"MOST, SEED = {validating.MOST_TRAINED}, " in text


def test_a_run_without_validation_goes_without_the_script_that_keeps_single_losses(
    main: Callable[..., Result], line: Callable[[int], list[object]]
) -> None:
    on, off = main(*line(40)), main(*line(41), "--no-validate")

    assert "validated.py" not in off.stdout
    assert "--validation_split" in on.stdout
    assert "--validation_split" not in off.stdout
