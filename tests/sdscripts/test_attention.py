"""Which attention sd-scripts uses, of those that are chosen."""

from __future__ import annotations

import pytest

from sdxl_train_cli.recipe import Kind, Recipe, Setting
from sdxl_train_cli.sdscripts import shipped
from sdxl_train_cli.sdscripts.attention import ATTENTIONS, chosen_attention


@pytest.mark.parametrize(
    ("given", "counts"),
    [("", None), ("sdpa", "sdpa"), ("sdpa xformers", "xformers"), ("xformers mem_eff_attn sdpa", "mem_eff_attn")],
)
def test_the_first_that_sd_scripts_asks_for_counts(given: str, counts: str | None) -> None:
    settings = {option: Setting(value=True, origin="--set") for option in given.split()}

    assert chosen_attention(Recipe(kind=Kind.LORA, name="", description="", settings=settings)) == counts


def test_every_attention_is_a_switch_of_both_scripts() -> None:
    assert all(shipped.table().of(kind)[option].type == "switch" for kind in Kind for option in ATTENTIONS)
