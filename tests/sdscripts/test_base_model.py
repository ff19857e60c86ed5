"""What a base predicts is read from headers as real files have them; where they can't tell, nothing is guessed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from base_models import EULER, write_base, write_folder

from sdxl_train_cli.errors import ModelError
from sdxl_train_cli.sdscripts import base_model
from sdxl_train_cli.sdscripts.base_model import Prediction

SPEC, KEY = "modelspec.prediction_type", "modelspec.predict_key"


@pytest.mark.parametrize(
    ("file", "prediction", "reason"),
    [
        (("NoobAI-XL-Vpred-v1.0", ("v_pred", "ztsnr"), {}), Prediction.V_ZERO_SNR, "tensors v_pred and ztsnr"),
        (("merge", ("v_pred",), {}), Prediction.V, "tensor v_pred"),
        (("sd_xl_base_1.0", (), {SPEC: "epsilon"}), Prediction.EPSILON, f"{SPEC}=epsilon"),
        (("from-comfy", (), {KEY: "epsilon"}), Prediction.EPSILON, f"{KEY}=epsilon"),
        (
            ("merge", (), {"ss_v_parameterization": "True", "ss_zero_terminal_snr": "True"}),
            Prediction.V_ZERO_SNR,
            "ss_v",
        ),
        (("merge", (), {SPEC: "v", "ss_zero_terminal_snr": "False"}), Prediction.V, f"{SPEC}=v"),
        # sd-scripts' word for what it was not told of; image programs go by the tensors
        (
            ("wrongly-trained", ("v_pred", "ztsnr"), {SPEC: "epsilon"}),
            Prediction.V_ZERO_SNR,
            "tensors v_pred and ztsnr",
        ),
    ],
)
def test_a_file_says_what_it_predicts(
    tmp_path: Path, file: tuple[str, tuple[str, ...], Mapping[str, str]], prediction: Prediction, reason: str
) -> None:
    name, signs, metadata = file

    found = base_model.look(str(write_base(tmp_path / f"{name}.safetensors", signs, metadata)))

    assert found.prediction is prediction
    assert reason in found.reason
    assert found.has_sign
    found.require_trainable("it")


def test_a_merge_without_any_sign_is_epsilon_as_image_programs_take_it(tmp_path: Path) -> None:
    found = base_model.look(str(write_base(tmp_path / "ponyDiffusionV6XL.safetensors")))

    assert (found.prediction, found.has_sign, found.doubt) == (Prediction.EPSILON, False, None)


@pytest.mark.parametrize(
    ("name", "signs", "metadata", "words"),
    [
        ("noobaiXLNAIXL_vPred10Version", (), {}, "its name ('vpred')"),
        ("model-v_prediction", (), {SPEC: "epsilon"}, f"but {SPEC}=epsilon"),
        ("anime-ztsnr", (), {}, "its name ('ztsnr')"),
        ("anime", (), {"modelspec.merged_from": "a, NoobAI V-Pred 1.0"}, "its name ('v-pred')"),
        ("anime", (), {SPEC: "v"}, "not said is whether with zero terminal SNR"),
        ("anime", (), {KEY: "v"}, "not said is whether with zero terminal SNR"),
        ("anime", ("ztsnr",), {}, "ztsnr without v_pred"),
        ("NAI-RectifiedFlow", (), {}, "rectified flow"),
    ],
)
def test_what_the_header_leaves_open_is_a_doubt(
    tmp_path: Path, name: str, signs: tuple[str, ...], metadata: Mapping[str, str], words: str
) -> None:
    found = base_model.look(str(write_base(tmp_path / f"{name}.safetensors", signs, metadata)))

    assert found.prediction is None
    assert words in str(found.doubt)


@pytest.mark.parametrize("name", ["Illustrious-XL-v2.0", "novaAnimeXL_ilV5", "provence-predator", "v-1-pruned"])
def test_usual_names_are_no_doubt(tmp_path: Path, name: str) -> None:
    assert base_model.look(str(write_base(tmp_path / f"{name}.safetensors"))).doubt is None


@pytest.mark.parametrize(
    ("signs", "metadata", "channels", "words"),
    [
        (("edm_mean", "edm_std"), {}, 4, "an EDM model (Playground v2.5)"),
        (("edm_vpred.sigma_max", "edm_vpred.sigma_min"), {}, 4, "an EDM model (CosXL)"),
        (("edm_vpred.sigma_max", "v_pred", "ztsnr"), {}, 8, "an EDM model|takes 8 channels"),
        ((), {SPEC: "rectified_flow"}, 4, "a rectified-flow model"),
        ((), {SPEC: "sample"}, 4, "predicts the picture itself"),
        ((), {}, 8, "takes 8 channels"),
        ((), {}, 16, "takes 16 channels"),
    ],
)
def test_what_sd_scripts_has_no_loss_for_is_refused(
    tmp_path: Path, signs: tuple[str, ...], metadata: Mapping[str, str], channels: int, words: str
) -> None:
    found = base_model.look(str(write_base(tmp_path / "a.safetensors", signs, metadata, channels)))

    with pytest.raises(ModelError, match="which sd-scripts does not train") as caught:
        found.require_trainable("a.safetensors")
    assert any(word in str(caught.value) for word in words.split("|"))


@pytest.mark.parametrize(
    ("scheduler", "prediction"),
    [
        (EULER, Prediction.EPSILON),
        ({**EULER, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}, Prediction.V_ZERO_SNR),
        ({**EULER, "prediction_type": "v_prediction", "rescale_betas_zero_snr": False}, Prediction.V),
        ({}, Prediction.EPSILON),
    ],
)
def test_a_diffusers_folder_says_it_in_its_scheduler(
    tmp_path: Path, scheduler: Mapping[str, object], prediction: Prediction
) -> None:
    assert base_model.look(str(write_folder(tmp_path / "model", scheduler))).prediction is prediction


@pytest.mark.parametrize(
    ("scheduler", "words"),
    [
        ({**EULER, "_class_name": "FlowMatchEulerDiscreteScheduler"}, "a rectified-flow model"),
        ({**EULER, "_class_name": "EDMDPMSolverMultistepScheduler"}, "an EDM model"),
        ({**EULER, "prediction_type": "sample"}, "predicts the picture itself"),
    ],
)
def test_a_folder_with_another_loss_is_refused(tmp_path: Path, scheduler: Mapping[str, object], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        base_model.look(str(write_folder(tmp_path / "model", scheduler))).require_trainable("model")


def test_an_inpainting_folder_is_refused_which_no_release_loads(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="takes 9 channels, not 4"):
        base_model.look(str(write_folder(tmp_path / "model", EULER, channels=9))).require_trainable("model")


def test_a_folder_that_was_converted_without_its_scheduler_is_a_doubt(tmp_path: Path) -> None:
    """Several v-prediction models on the hub have SDXL's own scheduler_config.json."""
    snapshot = tmp_path / "models--Laxhar--noobai-XL-Vpred-0.5" / "snapshots" / "abc"

    assert "its name ('vpred')" in str(base_model.look(str(write_folder(snapshot, EULER))).doubt)


@pytest.mark.parametrize(
    ("model", "prediction"),
    [
        ("stabilityai/stable-diffusion-xl-base-1.0", Prediction.EPSILON),
        ("Laxhar/noobai-XL-Vpred-1.0", Prediction.V_ZERO_SNR),
        ("someone/their-model", None),
    ],
)
def test_of_the_hub_a_few_models_are_known_and_the_others_asked_for(model: str, prediction: Prediction | None) -> None:
    found = base_model.look(model)

    assert found.prediction is prediction
    assert (found.doubt is not None) == (prediction is None)


def test_a_model_that_the_hub_has_sent_already_is_looked_at(tmp_path: Path) -> None:
    config = {**EULER, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    fetched = write_folder(tmp_path / "snapshot", config)

    assert base_model.look("someone/their-model", fetched).prediction is Prediction.V_ZERO_SNR


def test_every_row_of_the_table_has_its_source() -> None:
    rows = [row for kind in ("tensors", "metadata", "scheduler", "hub") for row in base_model.rows(kind)]

    assert len(rows) > 20
    assert all(row["source"] and ("means" in row) != ("refused" in row) for row in rows)


@pytest.mark.parametrize("text", ["{", "[]", "null"])
def test_a_scheduler_that_can_not_be_read_is_a_doubt(tmp_path: Path, text: str) -> None:
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(text, encoding="utf-8")

    found = base_model.look(str(tmp_path))

    assert (found.prediction, found.doubt) == (None, "its scheduler_config.json can't be read")


@pytest.mark.parametrize("name", ["rf-model", "my_rectified_flow", "cosxl", "edm-mix", "playground-v2.5"])
def test_a_name_that_speaks_of_another_loss_is_a_doubt(tmp_path: Path, name: str) -> None:
    found = base_model.look(str(write_base(tmp_path / f"{name}.safetensors")))

    assert found.prediction is None
    assert "which sd-scripts does not train" in str(found.doubt)


@pytest.mark.parametrize("name", ["perfect", "surf", "wedmix"])
def test_letters_within_another_word_are_no_doubt(tmp_path: Path, name: str) -> None:
    assert base_model.look(str(write_base(tmp_path / f"{name}.safetensors"))).prediction is Prediction.EPSILON
