"""Files that options name: their paths count from the current folder, and each is looked at before a run starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import write_safetensors

from sdxl_train_cli.errors import ModelError
from sdxl_train_cli.recipe import Kind, Recipe, Setting, Value
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.rules import named_files

TENSORS = ("lora_unet_a.lora_down.weight", "lora_unet_b.lora_down.weight", "lora_unet_b.alpha")


def recipe(settings: dict[str, Value], kind: Kind = Kind.LORA) -> Recipe:
    preset = "dim32-gc" if kind is Kind.LORA else "gc"
    changes = {name: Setting(value=value, origin="--set") for name, value in settings.items()}
    return named_files.resolve_paths(presets.load(kind, preset, []).replaced(changes))


def told(settings: dict[str, Value], kind: Kind = Kind.LORA) -> str:
    with pytest.raises(ModelError) as raised:
        named_files.require(recipe(settings, kind))
    (problem,) = raised.value.problems
    assert str(problem.where) == "--set"
    return f"{problem.message} / {', '.join(problem.hint_lines)}"


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    """A LoRA of dim 16."""
    return write_safetensors(tmp_path / "мой кот.safetensors", TENSORS, dim=16)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A whole state of a LoRA of dim 32, after 400 steps."""
    folder = tmp_path / "cat-state"
    folder.mkdir()
    write_safetensors(folder / "model.safetensors", TENSORS, dim=32)
    for part in ("optimizer.bin", "scheduler.bin", "random_states_0.pkl"):
        (folder / part).write_bytes(b"x")
    (folder / "train_state.json").write_text(json.dumps({"current_epoch": 1, "current_step": 400}))
    return folder


def test_paths_count_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    found = recipe({"sample_prompts": "p.txt", "base_weights": ("a.safetensors", "~/b.safetensors"), "resume": "s"})

    assert found.get("sample_prompts") == str(tmp_path / "p.txt")
    assert found.get("base_weights") == (str(tmp_path / "a.safetensors"), str(tmp_path / "home" / "b.safetensors"))
    assert found.get("resume") == str(tmp_path / "s")
    assert recipe({"resume": "me/state", "resume_from_huggingface": True}).get("resume") == "me/state"


def test_what_is_right_is_taken(tmp_path: Path, lora: Path, state: Path) -> None:
    (tmp_path / "p.txt").write_text("a cat", encoding="utf-8")
    named_files.require(recipe({"sample_prompts": str(tmp_path / "p.txt")}))
    named_files.require(recipe({"network_weights": str(lora), "network_dim": 16}))
    named_files.require(recipe({"network_weights": str(lora), "dim_from_weights": True}))
    named_files.require(recipe({"base_weights": (str(lora), str(lora))}))
    named_files.require(recipe({"resume": str(state)}))
    named_files.require(recipe({"resume": "me/state", "resume_from_huggingface": True}))


@pytest.mark.parametrize("option", ["sample_prompts", "network_weights", "base_weights", "log_tracker_config"])
def test_what_is_not_there_is_told(tmp_path: Path, option: str) -> None:
    assert f"at {tmp_path / 'nope'}" in told({option: str(tmp_path / "nope")})


def test_weights_of_another_dim_do_not_fit(lora: Path) -> None:
    assert told({"network_weights": str(lora)}) == (
        f"{lora} has dim 16, but this run has 32 / --set dim_from_weights=true, or --set network_dim=16"
    )


def test_where_layers_have_dims_of_their_own_nothing_is_compared(lora: Path) -> None:
    named_files.require(recipe({"network_weights": str(lora), "network_module": "lycoris.kohya"}))
    named_files.require(recipe({"network_weights": str(lora), "network_args": ("block_dims=" + ",".join("4" * 23),)}))


def test_a_file_that_is_no_network_is_refused_as_sd_scripts_would_pass_over_it(tmp_path: Path, model: Path) -> None:
    assert "holds no LoRA" in told({"network_weights": str(model)})
    assert "holds no LoRA" in told({"base_weights": (str(model),)})
    (tmp_path / "page.safetensors").write_text("<!doctype html>")
    assert "is a web page" in told({"network_weights": str(tmp_path / "page.safetensors")})


@pytest.mark.parametrize(
    ("module", "tensor", "words"),
    [
        ("networks.lora", "lora_unet_input_blocks_4_1_proj_in.hada_w1_a", "is of another kind (LoHa)"),
        ("networks.loha", "lora_unet_input_blocks_4_1_proj_in.lora_down.weight", "is of another kind (LoRA or LoCon)"),
        ("networks.lora", "lora_unet_down_blocks_1_attentions_0_proj_in.lora_down.weight", "as diffusers does"),
    ],
)
def test_weights_whose_names_this_network_has_not_got_are_refused(
    tmp_path: Path, module: str, tensor: str, words: str
) -> None:
    """sd-scripts would train from zero, with exit code 0."""
    path = write_safetensors(tmp_path / "a.safetensors", (tensor,), dim=32)

    assert words in told({"network_weights": str(path), "network_module": module})
    assert "load nothing" in told({"network_weights": str(path), "network_module": module, "dim_from_weights": True})


@pytest.mark.parametrize("name", ["w.SafeTensors", "w.dat", "w"])
def test_weights_that_torch_would_load_by_a_suffix_of_no_weights_are_refused(tmp_path: Path, name: str) -> None:
    write_safetensors(tmp_path / name, TENSORS)

    assert f"{name} does not have the suffix of a weights file" in told({"network_weights": str(tmp_path / name)})
    assert f"{name} does not have the suffix of a weights file" in told({"base_weights": (str(tmp_path / name),)})


def test_a_state_has_to_be_whole_of_this_network_and_behind_the_end(tmp_path: Path, state: Path) -> None:
    assert "it is the folder NAME-state" in told({"resume": str(state / "model.safetensors")})
    assert "writing it was cut off" in told({"resume": str(tmp_path)})
    assert "has dim 32, but this run has 8 / --set network_dim=32" in told({"resume": str(state), "network_dim": 8})
    assert told({"resume": str(state), "max_train_steps": 400}).endswith("is 400 / --steps 800")
    named_files.require(recipe({"resume": str(state), "max_train_steps": 400}, Kind.DREAMBOOTH))
