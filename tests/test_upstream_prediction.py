"""The real sd-scripts trains what the base's header says, with no flag typed, and its file says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import upstream_runs
import upstream_source
from upstream_runs import RealRuns

from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.sdscripts import base_model, checkpoint
from sdxl_train_cli.sdscripts.base_model import Prediction

pytestmark = [
    pytest.mark.upstream,
    pytest.mark.slow,
    pytest.mark.skipif(upstream_source.find() is None, reason="no source of sd-scripts: set SDXL_TRAIN_SOURCE"),
]
SIGNS = ("v_pred", "ztsnr")
TYPED = {"v_parameterization": "true", "zero_terminal_snr": "true"}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealRuns:
    return upstream_runs.real_runs(tmp_path_factory.mktemp("prediction"))


@pytest.fixture(scope="module")
def marked(real: RealRuns) -> Path:
    """The same model with the tensors of a v-prediction base."""
    return upstream_runs.with_tensors(real.material.model, real.folder / "marked.safetensors", SIGNS)


@pytest.mark.parametrize("kind", [Kind.LORA, Kind.DREAMBOOTH])
def test_the_tensors_alone_change_the_target_of_the_loss(real: RealRuns, marked: Path, kind: Kind) -> None:
    pictures, plain = real.material.pictures, real.material.model
    losses = {
        name: real.train(real.prepare(real.choices(f"{kind.value}-{name}", model, pictures, changes, kind)))
        for name, model, changes in (("plain", plain, {}), ("marked", marked, {}), ("typed", plain, TYPED))
    }

    assert losses["marked"] == losses["typed"]
    assert abs(losses["marked"][0] - losses["plain"][0]) > 1e-3

    header = checkpoint.read_header(
        real.folder / "output" / f"{kind.value}-marked" / f"{kind.value}-marked.safetensors"
    )
    assert header.metadata["modelspec.prediction_type"] == "v"
    if kind is Kind.LORA:
        assert header.metadata["ss_zero_terminal_snr"] == "True"
        assert not header.has("v_pred")


def test_a_trained_checkpoint_is_known_for_what_it_predicts(real: RealRuns, marked: Path) -> None:
    """sd-scripts leaves the tensors out, and image programs would draw noise with the file."""
    changes = {"save_every_n_steps": 1, "max_train_steps": 2}
    chosen = real.choices("chain", marked, real.material.pictures, changes, Kind.DREAMBOOTH)
    prepared = real.prepare(chosen)
    real.train(prepared)

    saved = sorted(prepared.run.folder.glob("*.safetensors"))
    assert len(saved) >= 2
    for path in saved:
        assert set(SIGNS) <= checkpoint.read_header(path).shapes.keys()
        assert base_model.look(str(path)).prediction is Prediction.V_ZERO_SNR
    base = checkpoint.read_header(real.material.model)
    assert checkpoint.read_header(prepared.run.result).shapes.keys() == {*base.shapes, *SIGNS}
