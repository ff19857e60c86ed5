"""Another optimizer comes with its own arguments, rate and schedule; what suits it stays."""

from __future__ import annotations

import pytest

from sdxl_train_cli.errors import WayOut
from sdxl_train_cli.recipe import Kind, Recipe, Setting, Value
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.rules import rules
from sdxl_train_cli.sdscripts import optimizer_swap, shipped

ADAFACTOR = "optimizer_args=scale_parameter=False relative_step=False warmup_init=False"


def recipe(kind: Kind = Kind.LORA, **changes: Value) -> Recipe:
    loaded = presets.load(kind, "full" if kind is Kind.DREAMBOOTH else "dim32")
    return loaded.replaced({name: Setting(value=value) for name, value in changes.items()})


def taken(before: Recipe, settings: tuple[str, ...]) -> Recipe:
    overrides = [presets.parse_override(setting) for setting in settings]
    return presets.with_overrides(before, overrides)


@pytest.mark.parametrize(
    ("before", "name", "settings"),
    [
        (recipe(), "AdamW", ("optimizer_type=AdamW",)),
        (
            recipe(optimizer_type="Prodigy", learning_rate=1.0, unet_lr=1.0, optimizer_args=("d_coef=2",)),
            "AdamW8bit",
            ("optimizer_type=AdamW8bit", "optimizer_args=null", "learning_rate=1e-4", "unet_lr=null"),
        ),
        (
            recipe(optimizer_type="DAdaptAdam", learning_rate=1.0),
            "Adafactor",
            ("optimizer_type=Adafactor", ADAFACTOR, "learning_rate=1e-4"),
        ),
        (
            recipe(Kind.DREAMBOOTH, optimizer_type="Adafactor", lr_scheduler="adafactor", fused_backward_pass=True,
                   optimizer_args=("relative_step=True",), learning_rate=1e-5),
            "AdamW8bit",
            ("optimizer_type=AdamW8bit", "optimizer_args=null", "lr_scheduler=cosine", "fused_backward_pass=null"),
        ),
        (recipe(), "Prodigy", ("optimizer_type=Prodigy", "learning_rate=1")),
        (
            recipe(lr_scheduler="cosine", lr_warmup_steps=100),
            "AdamWScheduleFree",
            ("optimizer_type=AdamWScheduleFree", "lr_scheduler=constant", "lr_warmup_steps=0"),
        ),
        (
            recipe(use_8bit_adam=True, optimizer_type="", learning_rate=2e-4),
            "Adafactor",
            ("optimizer_type=Adafactor", ADAFACTOR, "use_8bit_adam=null"),
        ),
    ],
)  # fmt: skip
def test_only_what_belongs_to_the_other_optimizer_is_swapped(
    before: Recipe, name: str, settings: tuple[str, ...]
) -> None:
    assert optimizer_swap.settings(name, before) == settings


@pytest.mark.parametrize("name", ["AdamW8bit", "AdamW", "Adafactor", "Prodigy"])
@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer_type": "Prodigy", "learning_rate": 1.0, "unet_lr": 1.0, "optimizer_args": ("d_coef=2",)},
        {"optimizer_type": "DAdaptLion", "learning_rate": 1.0, "text_encoder_lr": (0.5,)},
        {"optimizer_type": "Adafactor", "lr_scheduler": "adafactor", "optimizer_args": ("relative_step=True",),
         "lr_warmup_steps": 0},
        {"optimizer_type": "pytorch_optimizer.CAME", "learning_rate": 2e-4, "optimizer_args": ("eps1=1e-30",)},
    ],
)  # fmt: skip
def test_the_result_breaks_no_rule(name: str, changes: dict[str, Value]) -> None:
    before = recipe(**changes)

    for settings in (optimizer_swap.settings(name, before), optimizer_swap.all_settings(name, Kind.LORA)):
        assert list(rules.all_problems(taken(before, settings), shipped.table())) == []


def test_a_way_out_without_an_optimizer_stays_as_it_is() -> None:
    way = WayOut(("sdpa=true",), "slower")

    assert optimizer_swap.completed(way, recipe()) == way


def test_a_way_out_keeps_what_it_says_itself() -> None:
    before = recipe(optimizer_type="Prodigy", learning_rate=1.0)
    way = WayOut(("optimizer_type=AdamW", "learning_rate=3e-5"))

    assert optimizer_swap.completed(way, before).settings == way.settings
