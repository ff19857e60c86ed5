"""Bases are found where image programs keep them, and known by their headers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from base_models import EULER, write_base, write_folder
from conftest import write_safetensors

from sdxl_train_cli.errors import ModelError
from sdxl_train_cli.inspection import bases_on_disk


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder; the current one is another, and empty."""
    (tmp_path / "here").mkdir()
    (tmp_path / "user").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in ("HOME", "USERPROFILE", "APPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "user"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user" / "cache"))
    return tmp_path / "user"


def names() -> list[str]:
    return [found.name for found in bases_on_disk.find(os.environ)]


def put(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return write_base(folder / name)


@pytest.mark.parametrize(
    ("folder", "place"),
    [
        ("ComfyUI/models/checkpoints/sdxl", "ComfyUI"),
        ("stable-diffusion-webui-forge/models/Stable-diffusion", "Forge"),
        ("stable-diffusion-webui/models/Stable-diffusion", "AUTOMATIC1111"),
        ("StabilityMatrix/Models/StableDiffusion", "Stability Matrix"),
        ("invokeai/models/3f2a", "InvokeAI"),
        ("SwarmUI/Models/Stable-Diffusion", "SwarmUI"),
    ],
)
def test_programs_folders_are_looked_into(home: Path, folder: str, place: str) -> None:
    put(home / folder, "base.safetensors")

    (found,) = bases_on_disk.find(os.environ)

    assert (found.name, found.place, found.label) == ("base.safetensors", place, "epsilon")


@pytest.mark.usefixtures("home")
def test_this_folder_and_its_models_are_named_as_they_are_typed() -> None:
    put(Path(), "a.safetensors")
    put(Path("models"), "b.safetensors")
    put(Path("other"), "c.safetensors")

    assert [found.model for found in bases_on_disk.find(os.environ)] == ["a.safetensors", "models/b.safetensors"]


def test_further_paths_of_comfyui_are_followed(home: Path) -> None:
    put(home / "big disk" / "checkpoints", "one.safetensors")
    put(home / "big disk" / "more", "two.safetensors")
    (home / "ComfyUI").mkdir()
    text = f"comfyui:\n  base_path: {home / 'big disk'}\n  checkpoints: |\n    checkpoints\n    more\nbroken: [\n"
    (home / "ComfyUI" / "extra_model_paths.yaml").write_text(text.replace("broken: [\n", ""), encoding="utf-8")

    assert names() == ["one.safetensors", "two.safetensors"]
    (home / "ComfyUI" / "extra_model_paths.yaml").write_text(text, encoding="utf-8")
    assert names() == []


def test_what_is_no_sdxl_base_is_left_out(home: Path) -> None:
    folder = home / "ComfyUI" / "models" / "checkpoints"
    put(folder, "base.safetensors")
    write_safetensors(folder / "lora.safetensors", ["lora_unet_x.lora_down.weight"])
    write_safetensors(folder / "old.safetensors", ["cond_stage_model.transformer.x", "model.diffusion_model.x"])
    write_base(folder / "edm.safetensors", signs=["edm_mean", "edm_std"])
    (folder / "cut.safetensors").write_bytes(b"\0" * 9)
    (folder / "again.safetensors").symlink_to(folder / "base.safetensors")

    assert len(names()) == 1


def test_the_hubs_cache_is_looked_into(home: Path) -> None:
    cached = home / "cache" / "huggingface" / "hub" / "models--someone--anime-xl" / "snapshots" / "1"
    write_folder(cached, {**EULER, "prediction_type": "v_prediction"})

    (found,) = bases_on_disk.find(os.environ)

    assert (found.model, found.label, found.is_anime) == ("someone/anime-xl", "anime, v-prediction", True)


@pytest.mark.parametrize(
    ("name", "is_anime"),
    [
        ("illustriousXL_v01", True),
        ("noobaiXLNAIXL_epsilonPred11", True),
        ("ponyDiffusionV6XL", True),
        ("animagine-xl-4.0", True),
        ("sd_xl_base_1.0", False),
        ("realvisxlV50", False),
        ("juggernautXL_v9", False),
    ],
)
def test_an_anime_base_is_known_by_its_name(home: Path, name: str, is_anime: bool) -> None:
    path = write_base(home / f"{name}.safetensors")

    assert bases_on_disk.look(str(path), os.environ).is_anime is is_anime


def test_a_base_that_is_named_and_is_none_is_refused(home: Path) -> None:
    path = write_base(home / "cosxl.safetensors", signs=["edm_vpred.sigma_max"])

    with pytest.raises(ModelError, match="does not train"):
        bases_on_disk.look(str(path), os.environ)
