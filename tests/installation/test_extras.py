"""What a recipe needs beside what sd-scripts installs."""

from __future__ import annotations

import pytest

from sdxl_train_cli.installation import extras
from sdxl_train_cli.installation.toolchain import Extra
from sdxl_train_cli.recipe import Kind, Value
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override


@pytest.mark.parametrize(
    ("option", "value", "needed"),
    [
        ("xformers", True, (Extra.XFORMERS,)),
        ("diffusers_xformers", True, (Extra.XFORMERS,)),
        ("xformers", False, ()),
        ("network_module", "lycoris.kohya", (Extra.LYCORIS,)),
        ("network_module", "networks.loha", ()),
    ],
)
def test_a_recipe_needs_what_it_imports(option: str, value: Value, needed: tuple[Extra, ...]) -> None:
    assert extras.needed(presets.load(Kind.LORA, "dim32", [Override(option, value, "--set")])) == needed
