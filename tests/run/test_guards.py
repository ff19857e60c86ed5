"""Each guard speaks when it should, once, and is silent over what good runs do."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import measured_runs
import pytest

from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.recipe import Kind, Setting
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.records.metrics import StepMetrics
from sdxl_train_cli.run import early_spill, guards
from sdxl_train_cli.run.early_spill import UsualSpeed
from sdxl_train_cli.run.guards import Alarm, Guard, Guards


def alarms(losses: list[float], seconds: list[float] | None = None, used: float = 5.0, off: str = "") -> list[Alarm]:
    watching = Guards(guards.parse([off] if off else []))
    found = []
    for step, loss in enumerate(losses, 1):
        took = seconds[step - 1] if seconds else 1.0
        found += watching.look(StepMetrics(step, 0.0, loss, None, {}, took, used, 12.0))
    return found


def scattered(count: int, around: float = 0.1) -> list[float]:
    """As diffusion losses are: single steps differ by a factor of ten and more."""
    chance = random.Random(7)  # noqa: S311 - the same scatter each time
    return [around * chance.lognormvariate(0, 0.8) for _ in range(count)]


def test_a_good_run_makes_no_alarm() -> None:
    assert alarms(scattered(2000), [0.9 + loss for loss in scattered(2000)], used=11.9) == []


def test_three_steps_of_nan_end_the_run_and_name_the_first() -> None:
    (alarm,) = alarms([*scattered(10), math.nan, math.nan, math.nan, math.nan])

    assert alarm.guard is Guard.NAN
    assert alarm.stops
    assert "since step 11" in alarm.problem.message
    assert "learning_rate" in str(alarm.problem.hint)


@pytest.mark.parametrize("odd", [[math.nan], [math.nan, math.nan], [math.inf, 0.1, math.nan, math.nan]])
def test_fewer_can_be_a_single_bad_picture(odd: list[float]) -> None:
    assert alarms([*scattered(10), *odd, 0.1]) == []


def test_a_loss_that_comes_apart_is_told_once() -> None:
    (alarm,) = alarms([*scattered(100), *scattered(100, around=1.0)])

    assert alarm.guard is Guard.LOSS
    assert not alarm.stops


def test_a_run_that_slows_down_with_a_full_gpu_spills() -> None:
    losses, seconds = scattered(60), [1.0] * 40 + [8.0] * 20

    (alarm,) = alarms(losses, seconds, used=11.8)

    assert alarm.guard is Guard.SPEED
    assert "11.8 of 12.0 GB" in alarm.problem.message
    assert alarms(losses, seconds, used=6.0) == []


@pytest.mark.parametrize("off", ["nan", "loss", "speed"])
def test_each_can_be_switched_off(off: str) -> None:
    losses = [*scattered(100), *scattered(50, around=2.0), math.nan, math.nan, math.nan]
    found = {alarm.guard.value for alarm in alarms(losses, [1.0] * 100 + [9.0] * 53, used=11.9, off=off)}

    assert found == {"nan", "loss", "speed"} - {off}


def test_a_guard_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(UsageError) as raised:
        guards.parse(["nan", "nann"])

    assert "nann" in str(raised.value)
    assert "samples" in str(raised.value.problems[0].hint)


@pytest.mark.parametrize(
    ("silent", "per_step", "speaks"), [(100, 1, False), (200, 1, True), (200, 30, False), (700, 30, True)]
)
def test_silence_is_longer_than_three_minutes_and_twenty_steps(silent: float, per_step: float, speaks: bool) -> None:
    assert (guards.silence(silent, per_step, lambda: "it computes") is not None) is speaks


def test_the_disk_needs_room_for_the_next_checkpoint() -> None:
    assert guards.disk(1.0, 0.9, "there") is None
    alarm = guards.disk(0.5, 0.9, "there")
    assert alarm is not None
    assert "0.5 GB left" in alarm.problem.message


def test_a_sample_of_one_colour_is_told() -> None:
    assert guards.sample("a.png", 100) is None
    assert guards.sample("a.png", 0) is not None


CARD = Gpu(0, "NVIDIA GeForce RTX 3060", 12.0, 11.0, (8, 6), "555")


def slow_run(seconds: float, used: float, usual: UsualSpeed | None) -> list[Alarm]:
    watching = Guards(usual=usual)
    return [
        alarm
        for step in range(1, 60)
        for alarm in watching.look(StepMetrics(step, 0.0, 0.1 + step % 7 / 50, None, {}, seconds, used, 12.0))
    ]


@pytest.mark.parametrize("seconds", [25.0, 60.0, 300.0])
def test_a_spill_from_the_first_step_is_told_by_the_cards_usual_speed(seconds: float) -> None:
    usual = early_spill.usual_speed(presets.load(Kind.LORA, "dim32"), CARD)

    (alarm,) = slow_run(seconds, 11.8, usual)

    assert alarm.guard is Guard.SPEED
    assert f"a step takes {seconds:.1f} s instead of 4.0 s" in alarm.problem.message


@pytest.mark.parametrize(("seconds", "used"), [(3.0, 11.9), (15.0, 11.9), (60.0, 9.0)])
def test_a_slow_card_or_one_with_room_is_none(seconds: float, used: float) -> None:
    assert slow_run(seconds, used, early_spill.usual_speed(presets.load(Kind.LORA, "dim32"), CARD)) == []


def test_an_old_card_is_judged_by_its_own_earlier_runs_alone() -> None:
    old = replace(CARD, name="NVIDIA GeForce GTX 1080", capability=(6, 1))
    recipe = presets.load(Kind.LORA, "dim32")
    mine = measured_runs.record(gpu=old.name, seconds_per_step=6.0)

    assert early_spill.usual_speed(recipe, old) is None
    assert slow_run(60.0, 11.8, early_spill.usual_speed(recipe, old)) == []
    usual = early_spill.usual_speed(
        recipe, old, [mine, measured_runs.record(gpu=old.name, seconds_per_step=90.0, peak_gib=11.9)]
    )
    assert usual is not None
    assert usual.seconds == pytest.approx(6.0, rel=0.05)
    assert len(slow_run(60.0, 11.8, usual)) == 1
    assert slow_run(25.0, 11.8, usual) == []


def test_a_larger_batch_may_take_longer() -> None:
    recipe = presets.load(Kind.LORA, "dim32")
    four = recipe.replaced({"train_batch_size": Setting(value=4)})
    mine = measured_runs.record(gpu=CARD.name, seconds_per_step=2.0, width=1024, height=1024)

    assert [early_spill.usual_speed(each, CARD, [mine]).seconds for each in (recipe, four)] == [2.0, 8.0]  # type: ignore[union-attr]
