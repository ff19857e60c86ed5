"""Steps that train nothing end a run; what good runs do ends none."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

import pytest

from sdxl_train_cli.records.metrics import StepMetrics
from sdxl_train_cli.run import guards
from sdxl_train_cli.run.guards import Alarm, Guard, Guards


def alarms(metrics: Iterable[StepMetrics], steps: int | None = None, off: str = "") -> list[Alarm]:
    watching = Guards(guards.parse([off] if off else []))
    return [alarm for metric in metrics for alarm in watching.look(metric, steps)]


def losses(values: Iterable[float | None], average: float | None = None) -> list[StepMetrics]:
    return [StepMetrics(step, 100.0 + step, value, average, seconds=1.0) for step, value in enumerate(values, 1)]


def rated(rates: Iterable[float]) -> list[StepMetrics]:
    chance = random.Random(7)  # noqa: S311 - the same scatter each time
    return [
        StepMetrics(step, float(step), chance.random(), None, {"unet": rate}, 1.0) for step, rate in enumerate(rates, 1)
    ]


def cosine(steps: int, warmup: int = 0, cycles: int = 1) -> list[float]:
    found = []
    for step in range(steps):
        share = (step - warmup) / (steps - warmup)
        falling = 0.5 * (1 + math.cos(math.pi * ((cycles * share) % 1))) if share < 1 else 0.0
        found.append(1e-4 * (step / warmup if step < warmup else falling))
    return [*found[1:], 0.0]


def test_a_loss_of_exactly_0_ends_the_run_and_names_the_first_step() -> None:
    (alarm,) = alarms(losses([0.1, 0.2, *[0.0] * 40]))

    assert (alarm.guard, alarm.stops) == (Guard.STUCK, True)
    assert "the loss is exactly 0 in every step since step 3" in alarm.problem.message
    assert alarm.sound_until == 102.0


def test_a_loss_that_is_the_same_to_the_last_digit_ends_it_too() -> None:
    (alarm,) = alarms(losses([0.1, *[0.12345678] * 20]))

    assert alarm.guard is Guard.STUCK


@pytest.mark.parametrize("values", [[0.0, 0.1] * 40, [*[0.0] * 19, 0.1] * 3, [0.1, 0.10000001] * 40])
def test_single_zeros_and_near_losses_are_fine(values: list[float]) -> None:
    assert alarms(losses(values), off="loss") == []


def test_a_mean_of_three_digits_may_stand_still_but_not_at_0() -> None:
    assert alarms(losses([None] * 200, average=0.12)) == []
    assert [alarm.guard for alarm in alarms(losses([None] * 20, average=0.0))] == [Guard.STUCK]


def test_a_loss_that_is_no_number_is_the_other_guards() -> None:
    assert [alarm.guard for alarm in alarms(losses([math.nan] * 40))] == [Guard.NAN]


def test_a_rate_of_0_in_the_middle_ends_the_run() -> None:
    (alarm,) = alarms(rated([1e-4] * 30 + [0.0] * 30), steps=100)

    assert (alarm.guard, alarm.stops) == (Guard.RATE, True)
    assert "the learning rate is 0 since step 31 of 100" in alarm.problem.message


@pytest.mark.parametrize(
    "rates",
    [cosine(1000), cosine(1000, warmup=100), cosine(1000, cycles=5), cosine(40, warmup=10),
     [0.0, *[1e-4] * 99], [1e-4] * 980 + [0.0] * 20],
    ids=["cosine", "warmup", "restarts", "short", "first step", "end"],
)  # fmt: skip
def test_warmups_restarts_and_the_end_of_a_schedule_are_fine(rates: list[float]) -> None:
    assert alarms(rated(rates), steps=len(rates)) == []


def test_one_of_two_rates_may_be_0() -> None:
    metrics = [
        StepMetrics(step, 0.0, 0.1 + step / 1000, None, {"unet": 1e-4, "textencoder": 0.0}) for step in range(1, 60)
    ]

    assert alarms(metrics, steps=100) == []


def test_a_run_that_logs_no_rates_says_nothing_of_them() -> None:
    assert alarms(losses(0.1 + step / 1000 for step in range(100)), steps=100) == []


@pytest.mark.parametrize("guard", ["stuck", "rate"])
def test_both_can_be_switched_off(guard: str) -> None:
    metrics = [StepMetrics(step, 0.0, 0.0, None, {"unet": 0.0}) for step in range(1, 60)]

    assert guard not in {alarm.guard.value for alarm in alarms(metrics, steps=100, off=guard)}
    assert {alarm.guard.value for alarm in alarms(metrics, steps=100)} == {"stuck", "rate"}
