"""What `--set` means in a sweep: several values, a value with commas, a range; and what points are called."""

from __future__ import annotations

import random

import pytest

from sdxl_train_cli.errors import RecipeError
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.records import record
from sdxl_train_cli.sdscripts import shipped
from sdxl_train_cli.sweeps import axes, point_names
from sdxl_train_cli.sweeps.axes import Axis, Range

KNOWN = shipped.table().of(Kind.LORA)


def values(*texts: str) -> dict[str, tuple[str, ...]]:
    return {axis.option: axis.values for axis in axes.read(texts, KNOWN)[0]}


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["learning_rate=5e-5, 1e-4"], {"learning_rate": ("5e-5", "1e-4")}),
        (["optimizer_type=AdamW8bit,Prodigy"], {"optimizer_type": ("AdamW8bit", "Prodigy")}),
        (["loss_type=l2,huber"], {"loss_type": ("l2", "huber")}),
        (["text_encoder_lr=1e-5 2e-5,3e-5 4e-5"], {"text_encoder_lr": ("1e-5 2e-5", "3e-5 4e-5")}),
        (["min_snr_gamma=null,5"], {"min_snr_gamma": ("null", "5")}),
        (["resolution=512,512"], {}),
        (["optimizer_args=betas=0.9,0.99"], {}),
        (
            ["optimizer_args=betas=0.9,0.99", "optimizer_args=betas=0.9,0.999"],
            {"optimizer_args": ("betas=0.9,0.99", "betas=0.9,0.999")},
        ),
        (["network_dmi=16,32"], {}),
    ],
)
def test_commas_separate_values_only_where_no_value_can_hold_one(
    texts: list[str], expected: dict[str, tuple[str, ...]]
) -> None:
    assert values(*texts) == expected


@pytest.mark.parametrize("text", ["learning_rate=5e-5,0.00005", "network_dim=16,016", "optimizer_type=Lion,Lion"])
def test_a_value_that_is_there_twice_is_refused_however_it_is_written(text: str) -> None:
    with pytest.raises(RecipeError, match="twice"):
        axes.read([text], KNOWN)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("optimizer_type=AdamW,Lion,", "--set optimizer_type=AdamW,Lion"),
        ("learning_rate=,1e-4,2e-4", "--set learning_rate=1e-4,2e-4"),
        ("network_dim=4,,8", "--set network_dim=4,8"),
        ("network_dim=4,", "--set network_dim=4,VALUE"),
        ("network_dim=,", "--set network_dim=VALUE,VALUE"),
    ],
)
def test_a_comma_too_many_is_told(text: str, hint: str) -> None:
    with pytest.raises(RecipeError, match="has an empty value") as caught:
        axes.read([text], KNOWN)

    assert [problem.hint for problem in caught.value.problems] == [hint]


def test_what_has_one_value_is_left_to_the_training() -> None:
    found, fixed = axes.read(["network_dim=8,16", "seed=7", "resolution=512,512", "nonsense"], KNOWN)

    assert [axis.option for axis in found] == ["network_dim"]
    assert fixed == ["seed=7", "resolution=512,512", "nonsense"]


def test_all_nonsense_is_refused_at_once() -> None:
    texts = ["learning_rate=1e-3..1e-5", "network_dim=1.5..4", "seed=1,1", "loss_type=l1,1..2", "xformers=1..2"]

    with pytest.raises(RecipeError) as caught:
        axes.read(texts, KNOWN)

    assert [problem.message.split()[0].partition("=")[0] for problem in caught.value.problems] == [
        "learning_rate", "network_dim", "seed", "xformers",
    ]  # fmt: skip
    assert caught.value.problems[0].hint == "--set learning_rate=1e-05..0.001"


def test_a_grid_has_every_combination() -> None:
    found, _ = axes.read(["learning_rate=1,2", "network_dim=4,8,16"], KNOWN)

    points = [tuple(point.values()) for point in axes.grid(found)]

    assert points == [("1", "4"), ("1", "8"), ("1", "16"), ("2", "4"), ("2", "8"), ("2", "16")]
    assert axes.size(found) == 6


def test_random_points_differ_and_are_the_same_each_time() -> None:
    found, _ = axes.read(["learning_rate=1e-5..1e-3", "network_dim=4,8"], KNOWN)

    points = axes.at_random(found, 40)

    assert points == axes.at_random(found, 40)
    assert len({tuple(point.values()) for point in points}) == 40
    rates = sorted(float(point["learning_rate"]) for point in points)
    assert 1e-5 <= rates[0] < rates[-1] <= 1e-3
    assert 5e-5 < rates[20] < 2e-4  # by factors: the middle is at 1e-4
    assert len(axes.at_random([Axis("network_dim", ("4", "8"))], 9)) == 2


def test_numbers_stay_within_their_range_and_whole_ones_whole() -> None:
    whole = Range(4, 7, is_whole=True)

    source = random.Random(7)  # noqa: S311 - the same numbers each time

    assert {whole.drawn(source) for _ in range(200)} == {"4", "5", "6", "7"}
    assert Range(1.23456, 9, is_whole=False).text(1.2346) == "1.23456"


def test_a_points_name_says_what_differs() -> None:
    points = [{"learning_rate": "1e-4", "network_dim": "32"}, {"optimizer_args": "betas=0.9,0.99 x=../y"}]

    names = point_names.of("cat", points)

    assert names == ["cat-lr1e-4-dim32", "cat-betas-0.9-0.99-x-..-y"]


def test_names_are_different_valid_and_not_too_long() -> None:
    points = [{"network_args": f"a={'x' * 40}{number}"} for number in range(3)] * 2

    names = point_names.of("кот" * 30, points, taken=["other"])

    assert len({name.lower() for name in names}) == 6
    assert all(record.name_problem(name) is None for name in names)
