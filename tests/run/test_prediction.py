"""A run is set to what its base predicts, says so, and refuses settings that say the opposite."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from base_models import EULER, write_base, write_folder
from conftest import Result

from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Recipe, Setting
from sdxl_train_cli.run import prediction
from sdxl_train_cli.sdscripts.base_model import Prediction

BOTH = ("--v_parameterization", "--zero_terminal_snr")


@pytest.fixture
def noob(tmp_path: Path) -> Path:
    return write_base(tmp_path / "NoobAI-XL-Vpred-v1.0.safetensors", ("v_pred", "ztsnr"))


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return write_base(tmp_path / "pony.safetensors")


@pytest.fixture
def silent(tmp_path: Path) -> Path:
    """A merge whose name alone says something."""
    return write_base(tmp_path / "someMix_vPred.safetensors")


class Dry:
    """A dry run with a base."""

    def __init__(self, main: Callable[..., Result], pictures: Path) -> None:
        self._main, self._pictures = main, pictures

    def __call__(self, model: Path | str, *arguments: str, kind: str = "lora") -> Result:
        line = ["--data", str(self._pictures), "--no-vram-check", "--dry-run"]
        return self._main(kind, "--model", model, *line, *arguments)


@pytest.fixture
def dry(main: Callable[..., Result], pictures: Path) -> Dry:
    return Dry(main, pictures)


def switches(result: Result) -> list[str]:
    """Those of the two that the trainer is given."""
    assert result.code == 0, result.stderr
    words = shlex.split(result.stdout)
    return [switch for switch in BOTH if switch in words]


@pytest.mark.parametrize("kind", ["lora", "dreambooth"])
def test_a_v_prediction_base_is_trained_as_such_without_a_flag(dry: Dry, noob: Path, kind: str) -> None:
    result = dry(noob, kind=kind)

    assert switches(result) == list(BOTH)
    assert (
        "the base predicts v-prediction with zero terminal SNR (tensors v_pred and ztsnr in its header), so "
        "v_parameterization and zero_terminal_snr are on and min_snr_gamma weighs for v\n"
    ) in result.stderr


def test_a_v_prediction_base_on_the_usual_schedule_keeps_it(dry: Dry, tmp_path: Path) -> None:
    assert switches(dry(write_base(tmp_path / "a.safetensors", ("v_pred",)))) == [BOTH[0]]


def test_a_plain_base_is_trained_as_epsilon(dry: Dry, plain: Path) -> None:
    result = dry(plain)

    assert switches(result) == []
    assert "the base predicts epsilon (its header has no sign of v-prediction)\n" in result.stderr


def test_a_diffusers_folder_is_trained_as_its_scheduler_says(dry: Dry, tmp_path: Path) -> None:
    config = {**EULER, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}

    assert switches(dry(write_folder(tmp_path / "model", config))) == list(BOTH)


@pytest.mark.parametrize(
    ("setting", "words", "ways"),
    [
        ("v_parameterization=false", "v_parameterization is off", ("--set v_parameterization=null", "epsilon")),
        ("zero_terminal_snr=false", "zero_terminal_snr is off", ("--set zero_terminal_snr=null", "v")),
    ],
)
def test_the_opposite_is_refused_and_both_ways_out_work(
    dry: Dry, noob: Path, setting: str, words: str, ways: tuple[str, str]
) -> None:
    result = dry(noob, "--set", setting)

    assert result.code == 3
    assert f"--set: {words}, and the base predicts v-prediction with zero terminal SNR" in result.stderr
    drop, other = ways
    assert drop in result.stderr
    assert f"--prediction {other}" in result.stderr
    assert switches(dry(noob, "--set", setting, *drop.split(" "))) == list(BOTH)
    assert switches(dry(noob, "--set", setting, "--prediction", other)) == ([] if other == "epsilon" else [BOTH[0]])


def test_v_for_a_base_that_says_epsilon_is_refused_too(dry: Dry, tmp_path: Path) -> None:
    model = write_base(tmp_path / "a.safetensors", metadata={"modelspec.prediction_type": "epsilon"})

    result = dry(model, "--set", "v_parameterization=true")

    assert result.code == 3
    assert "v_parameterization is on, and the base predicts epsilon (modelspec.prediction_type=epsilon" in result.stderr
    assert switches(dry(model, "--set", "v_parameterization=true", "--prediction", "v")) == [BOTH[0]]


def test_a_preset_that_says_v_counts_where_the_header_is_silent(dry: Dry, plain: Path, silent: Path) -> None:
    for model in (plain, silent):
        result = dry(model, "--set", "v_parameterization=true", "--set", "zero_terminal_snr=true")

        assert switches(result) == list(BOTH)
        assert "the base predicts v-prediction with zero terminal SNR (as --set says)" in result.stderr


def test_what_the_header_cannot_tell_is_asked_for_and_never_guessed(dry: Dry, silent: Path) -> None:
    result = dry(silent)

    assert result.code == 4
    assert "unclear what" in result.stderr
    assert "its name ('vpred') says v-prediction, but its header has no sign of v-prediction" in result.stderr
    for way, expected in (("epsilon", []), ("v", [BOTH[0]]), ("v-ztsnr", list(BOTH))):
        assert switches(dry(silent, "--prediction", way)) == expected


def test_a_switch_that_is_off_anyway_answers_no_doubt(dry: Dry, silent: Path) -> None:
    assert dry(silent, "--set", "v_parameterization=false").code == 4


def test_metadata_that_says_v_without_its_schedule_is_asked_for(dry: Dry, tmp_path: Path) -> None:
    model = write_base(tmp_path / "a.safetensors", metadata={"modelspec.prediction_type": "v"})

    assert "not said is whether with zero terminal SNR" in dry(model).stderr
    assert switches(dry(model, "--set", "zero_terminal_snr=true")) == list(BOTH)
    assert dry(model, "--set", "v_parameterization=false").code == 3


def test_an_answer_may_stand_in_the_project_file(dry: Dry, silent: Path, tmp_path: Path) -> None:
    project = tmp_path / "sdxl-train.yaml"
    project.write_text("prediction: v-ztsnr\n", encoding="utf-8")

    assert switches(dry(silent)) == list(BOTH)

    project.write_text("prediction: velocity\n", encoding="utf-8")
    refused = dry(silent)
    assert refused.code == 3
    assert "no prediction 'velocity'" in refused.stderr


def test_an_answer_against_the_header_is_taken_with_a_warning(
    main: Callable[..., Result], noob: Path, pictures: Path
) -> None:
    result = main("lora", "--model", noob, "--data", pictures, "--no-vram-check", "--prediction", "epsilon")

    assert result.code == 0, result.stderr
    assert "--prediction epsilon is trained, but the base predicts v-prediction with zero terminal SNR" in result.stderr


def test_a_repeated_run_finds_out_anew(main: Callable[..., Result], noob: Path, pictures: Path) -> None:
    assert main("lora", "--model", noob, "--data", pictures, "--no-vram-check", "--name", "a").code == 0
    write_base(noob)  # now it says nothing but by its name

    repeated = main("runs", "rerun", "output/a")

    assert repeated.code == 4
    assert "unclear what" in repeated.stderr
    assert main("runs", "rerun", "output/a", "--prediction", "v-ztsnr", "--dry-run").code == 0


@pytest.mark.parametrize("name", ["v_pred_like_loss=0.1"])
def test_what_can_not_go_with_v_is_refused_as_if_v_had_been_typed(dry: Dry, noob: Path, name: str) -> None:
    result = dry(noob, "--set", name)

    assert result.code == 3
    assert "can't be used with v_parameterization" in result.stderr


def test_another_kind_of_model_is_refused_in_words(dry: Dry, tmp_path: Path) -> None:
    result = dry(write_base(tmp_path / "cosxl.safetensors", ("edm_vpred.sigma_max", "edm_vpred.sigma_min")))

    assert result.code == 4
    assert (
        "is an EDM model (CosXL) (tensor edm_vpred.sigma_max in its header), which sd-scripts does not" in result.stderr
    )


def test_a_run_that_goes_on_says_where_its_base_predicts_something_else(
    main: Callable[..., Result], noob: Path, pictures: Path
) -> None:
    """As one that an older release has begun would."""
    line = ["lora", "--model", noob, "--data", pictures, "--no-vram-check", "--name", "a", "--set", "save_state=true"]
    assert main(*line, "--set", "save_every_n_steps=2", "--steps", "4").code == 0
    record = Path("output/a/run.json")
    content = json.loads(record.read_text(encoding="utf-8"))
    del content["settings"]["v_parameterization"]
    record.write_text(json.dumps(content), encoding="utf-8")

    resumed = main("runs", "resume", "output/a", "--steps", "8")

    assert resumed.code == 0, resumed.stderr
    assert "this run trains epsilon, but the base predicts v-prediction with zero terminal SNR" in resumed.stderr


def test_what_drops_v_drops_what_needs_it_too(dry: Dry, tmp_path: Path) -> None:
    model = write_base(tmp_path / "a.safetensors", metadata={"modelspec.prediction_type": "epsilon"})
    typed = ["--set", "v_parameterization=true", "--set", "scale_v_pred_loss_like_noise_pred=true"]
    way = "--set v_parameterization=null --set scale_v_pred_loss_like_noise_pred=false"

    assert way in dry(model, *typed).stderr
    assert switches(dry(model, *typed, *way.split(" "))) == []


def test_a_way_out_says_which_v_where_the_base_leaves_it_open(dry: Dry, tmp_path: Path) -> None:
    model = write_base(tmp_path / "a.safetensors", metadata={"modelspec.prediction_type": "v"})
    typed = ["--set", "v_parameterization=false"]
    way = "--set v_parameterization=null --prediction v-ztsnr"

    assert way in dry(model, *typed).stderr
    assert switches(dry(model, *typed, *way.split(" "))) == list(BOTH)


def test_epsilon_for_a_base_that_says_v_is_warned_of_whatever_says_it(dry: Dry, tmp_path: Path) -> None:
    model = write_base(tmp_path / "a.safetensors", metadata={"modelspec.prediction_type": "v"})

    assert "--prediction epsilon is trained, but the base predicts v-prediction" in (
        dry(model, "--prediction", "epsilon").stderr
    )


@pytest.mark.parametrize(
    ("settings", "trained"),
    [({}, "EPSILON"), ({"v_parameterization": True}, "V"), ({"zero_terminal_snr": True}, "EPSILON"),
     ({"v_parameterization": True, "zero_terminal_snr": True}, "V_ZERO_SNR")],
)  # fmt: skip
def test_a_run_that_goes_on_marks_its_checkpoints_as_it_began(settings: dict[str, bool], trained: str) -> None:
    given = {name: Setting(value=value, origin=Origin("the record")) for name, value in settings.items()}
    recipe = Recipe(kind=Kind.DREAMBOOTH, name="gc", description="", settings=given)

    assert prediction.trained(recipe) is Prediction[trained]
