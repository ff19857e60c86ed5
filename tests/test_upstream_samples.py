"""The real sd-scripts draws the samples that we ask for, and validates on the pictures that we count as held back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import upstream_runs
import upstream_source
from conftest import write_pictures
from upstream_runs import RealRuns

from sdxl_train_cli.dataset import bucketing
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Value
from sdxl_train_cli.records import curves, history, validation
from sdxl_train_cli.run import resuming
from sdxl_train_cli.run.run_choices import Choices
from sdxl_train_cli.sdscripts import checkpoint, results
from sdxl_train_cli.ui import run_page_data

pytestmark = [
    pytest.mark.upstream,
    pytest.mark.slow,
    pytest.mark.skipif(upstream_source.find() is None, reason="no source of sd-scripts: set SDXL_TRAIN_SOURCE"),
]
PROMPTS = ("zkz on a wall --s 2", "zkz --s 2 --w 128")
CACHED: Mapping[str, Value | None] = {
    "cache_latents": True,
    "cache_text_encoder_outputs": True,
    "network_train_unet_only": True,
}
PLAIN: Mapping[str, Value | None] = {
    "cache_latents": None, "cache_text_encoder_outputs": None, "shuffle_caption": True, "v_parameterization": True,
    "network_train_unet_only": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealRuns:
    return upstream_runs.real_runs(tmp_path_factory.mktemp("samples"))


def chosen(real: RealRuns, name: str, pictures: Path, changes: Mapping[str, Value | None]) -> Choices:
    usual: Mapping[str, Value | None] = {
        "max_train_steps": 6,
        "train_batch_size": 4,
        "sample_every_n_steps": 3,
        "save_every_n_steps": 3,
    }
    found = real.choices(name, real.material.model, pictures, {**usual, "save_state": True, **changes})
    return replace(found, trigger="zkz", samples=PROMPTS, validation=0.35)


@pytest.mark.parametrize(("name", "changes"), [("cached", CACHED), ("plain", PLAIN)])
def test_samples_and_validation_come_at_the_told_steps(
    real: RealRuns, tmp_path: Path, name: str, changes: Mapping[str, Value | None]
) -> None:
    pictures = write_pictures(tmp_path / "pictures", 12, "zkz, 1girl, a wall", (64, 64))
    prepared = real.prepare(chosen(real, name, pictures, changes))
    arranged = bucketing.arrange(prepared.recipe, prepared.readable)

    real.train(prepared)

    drawn = results.samples(prepared.run.folder, name)
    assert [(one.moment, one.prompt) for one in drawn] == [
        (moment, prompt) for moment in ("start", "step 3", "step 6") for prompt in (0, 1)
    ]
    found = validation.of(curves.load(prepared.run.metrics))
    assert found is not None
    assert [step for step, _ in found.points] == [2, 4, 6]
    metadata = checkpoint.read_header(prepared.run.result).metadata
    assert metadata["ss_num_train_images"] == str(arranged.count)
    assert metadata["ss_num_validation_images"] == str(len(arranged.held_back)) == "4"

    page = run_page_data.gather(history.require(str(prepared.run.folder), tmp_path), "", with_hashes=False)
    assert page.samples.moments == ("start", "step 3", "step 6")
    assert page.samples.prompts == ("zkz on a wall", "zkz")
    assert [value for value in page.curves.validation_losses if value is not None] != []

    entry = history.require(str(prepared.run.folder), tmp_path)
    resumed = resuming.prepare(entry, Home(real.home), steps=9, check_vram=False)
    assert str(prepared.run.prompts) in resumed.argv
    assert resumed.recipe.sample_pixels == 128 * 64
