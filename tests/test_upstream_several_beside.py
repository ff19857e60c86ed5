"""What two processes of the real sd-scripts make beside the model: samples and caches on disk, each once."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import upstream_runs
import upstream_source
from conftest import write_pictures
from upstream_runs import RealRuns

from sdxl_train_cli.recipe import Kind, Value
from sdxl_train_cli.records import curves
from sdxl_train_cli.sdscripts import checkpoint, results

pytestmark = [
    pytest.mark.upstream,
    pytest.mark.slow,
    pytest.mark.skipif(
        upstream_source.find() is None and "SDXL_TRAIN_UPSTREAM_HOME" not in os.environ,
        reason="no source of sd-scripts: set SDXL_TRAIN_SOURCE",
    ),
]
PICTURES = 6
ON_DISK: dict[str, Value | None] = {
    "cache_latents": True, "cache_latents_to_disk": True, "cache_text_encoder_outputs": True,
    "cache_text_encoder_outputs_to_disk": True, "max_train_steps": 4, "sample_every_n_steps": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealRuns:
    return upstream_runs.real_runs(tmp_path_factory.mktemp("several"))


@pytest.mark.parametrize("kind", [Kind.LORA, Kind.DREAMBOOTH])
def test_samples_are_drawn_once_and_each_cache_is_made_once(real: RealRuns, tmp_path: Path, kind: Kind) -> None:
    pictures = write_pictures(tmp_path / "pictures", PICTURES, "zkz, a wall", (64, 64))
    unet_alone: dict[str, Value | None] = {"network_train_unet_only": True} if kind is Kind.LORA else {}
    choices = real.choices(kind.value, real.material.model, pictures, {**ON_DISK, **unet_alone}, kind)
    prompts = ("zkz on a wall --s 2", "zkz --s 2")
    prepared = real.prepare(replace(choices, trigger="zkz", samples=prompts, validation=0.0, processes=2))

    real.train(prepared)

    assert curves.load(prepared.run.metrics).steps == (1, 2, 3, 4)
    drawn = [(one.moment, one.prompt) for one in results.samples(prepared.run.folder, kind.value)]
    assert sorted(drawn) == [(moment, prompt) for moment in ("start", "step 2", "step 4") for prompt in (0, 1)]
    assert len(list(pictures.glob("*_sdxl.npz"))) == PICTURES
    assert len(list(pictures.glob("*_te_outputs.npz"))) == PICTURES
    assert checkpoint.read_header(prepared.run.result).shapes
