"""The real sd-scripts trains the same to the last bit where the loss of each picture is kept beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import upstream_runs
import upstream_source
from conftest import write_pictures
from upstream_runs import RealRuns

from sdxl_train_cli.layout import Home
from sdxl_train_cli.ranking import ranking
from sdxl_train_cli.ranking.verdict import Basis
from sdxl_train_cli.recipe import Value
from sdxl_train_cli.records import curves, history, picture_losses
from sdxl_train_cli.run import resuming, training, validating
from sdxl_train_cli.run.run_choices import Choices

pytestmark = [
    pytest.mark.upstream,
    pytest.mark.slow,
    pytest.mark.skipif(upstream_source.find() is None, reason="no source of sd-scripts: set SDXL_TRAIN_SOURCE"),
]
RANDOM: Mapping[str, Value | None] = {
    "cache_latents": None, "cache_text_encoder_outputs": None, "network_train_unet_only": True, "flip_aug": True,
    "shuffle_caption": True, "caption_dropout_rate": 0.3, "caption_tag_dropout_rate": 0.2, "network_dropout": 0.1,
}  # fmt: skip
CACHED: Mapping[str, Value | None] = {
    "cache_latents": True, "cache_text_encoder_outputs": True, "network_train_unet_only": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealRuns:
    return upstream_runs.real_runs(tmp_path_factory.mktemp("validation"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures", 12, "zkz, 1girl, a wall, a tree", (64, 64))


def chosen(real: RealRuns, name: str, pictures: Path, changes: Mapping[str, Value | None]) -> Choices:
    usual: Mapping[str, Value | None] = {
        "max_train_steps": 6,
        "train_batch_size": 4,
        "save_every_n_steps": 3,
        "save_state": True,
    }
    found = real.choices(name, real.material.model, pictures, {**usual, **changes})
    return replace(found, samples=(), validation=0.35)


@pytest.mark.parametrize("changes", [RANDOM, CACHED], ids=["random", "cached"])
def test_training_losses_and_the_trainers_own_mean_are_those_without_the_script(
    real: RealRuns, pictures: Path, monkeypatch: pytest.MonkeyPatch, changes: Mapping[str, Value | None]
) -> None:
    kept = real.prepare(chosen(real, f"kept-{len(changes)}", pictures, changes))
    with monkeypatch.context() as patched:
        patched.setattr(validating, "holds_back", lambda _recipe: False)
        bare = real.prepare(chosen(real, f"bare-{len(changes)}", pictures, changes))
    assert any(word.endswith("validated.py") for word in kept.argv)
    assert not any(word.endswith("validated.py") for word in bare.argv)

    losses = real.train(kept), real.train(bare)

    assert losses[0] == losses[1]
    own = [
        [json.loads(line)["validation_loss"] for line in prepared.run.metrics.read_text(encoding="utf-8").splitlines()]
        for prepared in (kept, bare)
    ]
    assert own[0] == own[1]
    looks = picture_losses.load(kept.run.validation)
    assert [look.step for look in looks] == [1, 2, 3, 4, 5, 6]
    assert all((len(look.held_back), len(look.training)) == (4, 4) for look in looks)
    assert not {*looks[0].held_back} & {*looks[0].training}
    assert not picture_losses.load(bare.run.validation)
    first, last = looks[0], curves.load(kept.run.metrics)
    assert first.loss == pytest.approx(own[1][0], abs=1e-5)
    assert last.training_part_losses[-1] == looks[-1].training_loss


def test_a_fast_run_that_goes_on_keeps_them_too_and_its_best_checkpoint_is_found(
    real: RealRuns, pictures: Path
) -> None:
    prepared = real.prepare(replace(chosen(real, "fast", pictures, CACHED), fast=True))
    real.train(prepared)
    before = picture_losses.load(prepared.run.validation)

    entry = history.require(str(prepared.run.folder), prepared.run.folder.parent)
    resumed = resuming.prepare(entry, Home(real.home), steps=9, check_vram=False)
    training.watch(
        resumed.run, resumed.argv, cwd=resumed.environment.checkout, env=resumed.variables,
        on_event=lambda _event: None, conditions=resumed.conditions(), begin=lambda: resuming.begin(resumed),
    )  # fmt: skip

    after = picture_losses.load(prepared.run.validation)
    assert after[: len(before)] == before
    assert after[-1].step == 9
    assert after[-1].held_back.keys() == before[0].held_back.keys()
    assert after[-1].training.keys() == before[0].training.keys()
    known = ranking.with_weights(
        ranking.find(str(prepared.run.folder), prepared.run.folder.parent), prepared.environment
    )
    found = ranking.judge(known)
    assert found.basis is Basis.VALIDATION
    assert known.weights is not None
    assert all(one.norm for one in known.weights)
