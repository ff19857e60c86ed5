"""What is shared of a real training: the same weights, and samples with the prompts that they were drawn with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import upstream_runs
import upstream_source
from conftest import write_pictures
from PIL import Image

from sdxl_train_cli.sdscripts import checkpoint
from sdxl_train_cli.sharing import delivery, share_plan, subject
from sdxl_train_cli.sharing.share_plan import ShareChoices

pytestmark = [
    pytest.mark.upstream,
    pytest.mark.slow,
    pytest.mark.skipif(upstream_source.find() is None, reason="no source of sd-scripts: set SDXL_TRAIN_SOURCE"),
]


def test_a_real_run_is_shared_with_its_weights_hashes_and_samples(tmp_path: Path) -> None:
    real = upstream_runs.real_runs(tmp_path)
    pictures = write_pictures(tmp_path / "pictures", 4, "zkz, 1girl, a wall", (64, 64))
    changes = {"max_train_steps": 2, "sample_every_n_steps": 2, "cache_latents": True, "sample_sampler": "euler_a",
               "cache_text_encoder_outputs": True, "network_train_unet_only": True}  # fmt: skip
    chosen = real.choices("shared", real.material.model, pictures, changes)
    prepared = real.prepare(replace(chosen, trigger="zkz", samples=("zkz on a wall --s 2 --w 64 --h 64 --d 5",)))
    real.train(prepared)

    found = subject.find(str(prepared.run.folder), tmp_path, None)
    share = share_plan.plan(found, ShareChoices())
    delivery.write(share, tmp_path / "out")

    trained = checkpoint.read_header(prepared.run.result)
    shared = checkpoint.read_header(tmp_path / "out" / "shared.safetensors")
    assert shared.shapes == trained.shapes
    assert shared.metadata["sshs_model_hash"] == trained.metadata["sshs_model_hash"] == share.copy.hashes.addnet
    with Image.open(tmp_path / "out" / "previews" / "1.png") as picture:
        told = picture.info["parameters"].splitlines()
    assert told[0] == "zkz on a wall <lora:shared:1>"
    assert told[-1].startswith("Steps: 2, Sampler: Euler a, ")
    assert ", Seed: 5, Size: 64x64, Model: model, " in told[-1]
    assert str(tmp_path) not in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
