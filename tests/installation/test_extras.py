"""What a recipe needs beside what sd-scripts installs."""

from __future__ import annotations

import pytest

from sdxl_train_cli.installation import extras
from sdxl_train_cli.installation.toolchain import Extra
from sdxl_train_cli.recipe import Kind, Recipe, Value
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override


def recipe(option: str, value: Value) -> Recipe:
    return presets.load(Kind.LORA, "dim32", [Override(option, value, "--set")])


@pytest.mark.parametrize(
    ("option", "value", "needed"),
    [
        ("xformers", True, (Extra.XFORMERS,)),
        ("diffusers_xformers", True, (Extra.XFORMERS,)),
        ("xformers", False, ()),
        ("network_module", "lycoris.kohya", (Extra.LYCORIS,)),
        ("network_module", "networks.loha", ()),
        ("optimizer_type", "DAdaptAdam", (Extra.DADAPTATION,)),
        ("optimizer_type", "dadaptation.DAdaptAdan", (Extra.DADAPTATION,)),
        ("optimizer_type", "Prodigy", ()),
        ("log_with", "wandb", (Extra.WANDB,)),
        ("log_with", "all", (Extra.WANDB,)),
        ("log_with", "tensorboard", ()),
    ],
)
def test_a_recipe_needs_what_it_imports(option: str, value: Value, needed: tuple[Extra, ...]) -> None:
    assert extras.needed(recipe(option, value)) == needed


@pytest.mark.parametrize(
    ("option", "value", "module"),
    [
        ("optimizer_type", "AdamW", None),
        ("optimizer_type", "Adafactor", None),
        ("optimizer_type", "AdamW8bit", "bitsandbytes"),
        ("optimizer_type", "PagedAdamW32bit", "bitsandbytes"),
        ("optimizer_type", "Lion8bit", "bitsandbytes"),
        ("optimizer_type", "Lion", "lion_pytorch"),
        ("optimizer_type", "Prodigy", "prodigyopt"),
        ("optimizer_type", "AdamWScheduleFree", "schedulefree"),
        ("optimizer_type", "pytorch_optimizer.CAME", "pytorch_optimizer"),
        ("optimizer_type", "torch.optim.RAdam", "torch.optim"),
        ("lr_scheduler_type", "CosineAnnealingLR", None),
        ("lr_scheduler_type", "my.schedules.Wave", "my.schedules"),
        ("deepspeed", True, "deepspeed"),
        ("network_module", "networks.oft", "networks.oft"),
    ],
)
def test_other_modules_are_named_by_the_option_that_asks_for_them(
    option: str, value: Value, module: str | None
) -> None:
    usual = {"networks.lora", "bitsandbytes"}
    found = {
        name: asked
        for name, asked in extras.others(recipe(option, value)).items()
        if asked == option or name not in usual
    }

    assert found == ({} if module is None else {module: option})
