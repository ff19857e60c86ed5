"""Inpainting bases, which have input for masks, in the real sd-scripts: v0.11.1 trains them."""

from __future__ import annotations

from pathlib import Path

import pytest
import upstream_runs
import upstream_source

from sdxl_train_cli.environment import environment
from sdxl_train_cli.errors import RecipeError
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind, Value

pytestmark = [
    pytest.mark.upstream,
    pytest.mark.skipif(upstream_source.find() is None, reason="no source of sd-scripts: set SDXL_TRAIN_SOURCE"),
]
CHANGES: dict[str, Value | None] = {"train_inpainting": True, "cache_latents": None}


@pytest.mark.slow
def test_a_network_learns_on_an_inpainting_base_and_not_without_input_for_masks(tmp_path: Path) -> None:
    real = upstream_runs.real_runs(tmp_path)
    if "train_inpainting" not in environment.option_table(Home(real.home)).of(Kind.LORA):
        with pytest.raises(RecipeError, match="no option 'train_inpainting'"):
            real.prepare(real.choices("old", real.material.model, real.material.pictures, CHANGES))
        return
    base = upstream_runs.with_mask_input(real.material.model, tmp_path / "nine.safetensors")
    prepared = real.prepare(real.choices("nine", base, real.material.pictures, CHANGES))

    assert all(loss > 0 for loss in real.train(prepared))
    with pytest.raises(RecipeError, match="the base has no input for masks"):
        real.prepare(real.choices("four", real.material.model, real.material.pictures, CHANGES))
