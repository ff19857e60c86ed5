"""Where things live, and small words that everything else is made of."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from sdxl_train_cli import gpu, layout
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind, Recipe, Setting, Value


def test_the_home_that_was_typed_comes_before_the_environments(tmp_path: Path) -> None:
    environ = {"SDXL_TRAIN_HOME": str(tmp_path / "variable")}

    assert Home.find(tmp_path / "typed", environ).path == tmp_path / "typed"
    assert Home.find(None, environ).path == tmp_path / "variable"
    assert Home.find(None, {"SDXL_TRAIN_HOME": ""}).path.name == layout.APP
    assert layout.config_folder({"SDXL_TRAIN_CONFIG": str(tmp_path)}) == tmp_path
    assert layout.config_folder({}).name == layout.APP


def test_a_relative_home_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert Home.find(Path("here"), {}).path == tmp_path / "here"


def test_a_tilde_is_the_home_folder_and_an_unknown_user_a_plain_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "me"))

    assert layout.expand(Path("~/a")) == tmp_path / "me" / "a"
    assert layout.expand(Path("~nobody-of-this-name/a")) == tmp_path / "~nobody-of-this-name" / "a"


def test_all_that_setup_makes_lies_in_the_home(tmp_path: Path) -> None:
    home = Home(tmp_path)
    places = (home.environments, home.current, home.setup_lock, home.setup_log, home.tokenizers)

    assert {place.parent for place in places} == {tmp_path}
    assert len(set(places)) == len(places)


@pytest.mark.parametrize(("capability", "has_bf16"), [((7, 5), False), ((8, 0), True), ((8, 9), True), ((12, 0), True)])
def test_bf16_comes_with_ampere(capability: tuple[int, int], has_bf16: bool) -> None:
    assert Gpu(0, "card", 24.0, 23.0, capability, "550").has_bf16 is has_bf16


def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise gpu_error

    import pynvml  # noqa: PLC0415 - the door under test

    gpu_error = pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    monkeypatch.setattr(pynvml, "nvmlInit", absent)

    assert gpu.devices() == ()


@pytest.fixture
def recipe() -> Recipe:
    values: dict[str, Value] = {"max_grad_norm": 0, "sdpa": True, "text": "1", "network_args": ("a=1", "b=c=d", "e")}
    settings = {name: Setting(value=value, origin=f"line {name}") for name, value in values.items()}
    return Recipe(kind=Kind.LORA, name="mine", description="", settings=settings)


def test_zero_is_a_value_and_absent_is_none(recipe: Recipe) -> None:
    assert (recipe.get("max_grad_norm"), recipe.number("max_grad_norm")) == (0, 0)
    assert (recipe.get("absent"), recipe.number("absent"), recipe.origin("absent")) == (None, None, None)
    assert (recipe.number("sdpa"), recipe.number("text")) == (None, None)
    assert (recipe.is_on("sdpa"), recipe.is_on("max_grad_norm"), recipe.is_on("absent")) == (True, False, False)


def test_a_list_of_key_and_value_is_a_mapping(recipe: Recipe) -> None:
    assert recipe.arguments("network_args") == {"a": "1", "b": "c=d", "e": ""}
    assert recipe.arguments("text") == {"1": ""}
    assert recipe.arguments("absent") == {}


def test_a_change_is_a_copy_and_none_takes_away(recipe: Recipe) -> None:
    changed = recipe.replaced({"sdpa": None, "absent": None, "seed": Setting(value=0, origin="--seed")})

    assert set(changed.settings) == {"max_grad_norm", "text", "network_args", "seed"}
    assert recipe.is_on("sdpa")


def test_a_recipe_cannot_be_changed(recipe: Recipe) -> None:
    with pytest.raises(TypeError):
        recipe.settings["seed"] = Setting(value=1, origin="")  # type: ignore[index]
    with pytest.raises(ValidationError):
        recipe.name = "other"


def test_each_kind_has_its_script_and_its_name() -> None:
    assert [(kind.script, kind.label) for kind in Kind] == [
        ("sdxl_train_network.py", "LoRA"),
        ("sdxl_train_network.py", "LoCon"),
        ("sdxl_train_network.py", "LoHa"),
        ("sdxl_train_network.py", "LoKr"),
        ("sdxl_train.py", "Dreambooth"),
        ("sdxl_train_textual_inversion.py", "embedding"),
    ]
    assert Kind.listed() == "lora, locon, loha, lokr, dreambooth or embedding"
