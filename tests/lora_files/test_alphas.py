"""A LoRA is as strong under another program's names, wherever its file says how strong it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensor_files

from sdxl_train_cli.errors import ModelError
from sdxl_train_cli.lora_files import converting, handed, resizing
from sdxl_train_cli.lora_files.converting import Naming
from sdxl_train_cli.lora_files.plans import AssemblyPlan
from sdxl_train_cli.lora_files.resizing import Smaller

TO_Q = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
TO_OUT = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0"
TEXT = "text_model.encoder.layers.0.self_attn.q_proj"
KOHYA = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"
KOHYA_OUT = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_out_0"
KOHYA_TEXT = "lora_te2_text_model_encoder_layers_0_self_attn_q_proj"


def peft_file(
    path: Path, ranks: dict[str, int], endings: tuple[str, str] = (".lora_B", ".lora_A"), **metadata: object
) -> Path:
    tensors = {}
    for at, (module, rank) in enumerate(ranks.items()):
        tensors[f"{module}{endings[0]}.weight"] = tensor_files.numbers(12, rank, seed=at)
        tensors[f"{module}{endings[1]}.weight"] = tensor_files.numbers(rank, 16, seed=at + 50)
    told = {"lora_adapter_metadata": json.dumps(metadata)} if metadata else {}
    return tensor_files.write(path, tensors, "F32", **told)


def plan(path: Path, to: Naming = Naming.KOHYA) -> AssemblyPlan:
    return converting.plan_names(handed.open_network(path, "rename"), to, None)


def test_what_diffusers_says_of_each_part_is_the_alpha(tmp_path: Path) -> None:
    path = peft_file(
        tmp_path / "a.safetensors",
        {f"unet.{TO_Q}": 4, f"unet.{TO_OUT}": 4, f"text_encoder_2.{TEXT}": 2},
        **{"unet.r": 4, "unet.lora_alpha": 8, "unet.alpha_pattern": {f"^{TO_OUT}": 1},
           "text_encoder_2.r": 2, "text_encoder_2.lora_alpha": 3},
    )  # fmt: skip

    found = plan(path)

    assert found.numbers == {f"{KOHYA}.alpha": 8, f"{KOHYA_OUT}.alpha": 1, f"{KOHYA_TEXT}.alpha": 3}
    assert "lora_adapter_metadata" not in found.metadata


def test_a_networks_strength_survives_from_diffusers_and_back(tmp_path: Path) -> None:
    path = peft_file(tmp_path / "a.safetensors", {f"unet.{TO_Q}": 4}, **{"unet.r": 4, "unet.lora_alpha": 8})
    there = plan(path, Naming.DIFFUSERS)

    [up] = there.tensors[f"unet.{TO_Q}.lora_B.weight"]
    assert up.factor == 2
    assert "lora_adapter_metadata" not in there.metadata  # its rank is its alpha now, which programs take for granted


def test_with_rslora_alpha_counts_by_the_root_of_the_rank(tmp_path: Path) -> None:
    told = {"unet.lora_alpha": 8, "unet.use_rslora": True}

    [alpha] = plan(peft_file(tmp_path / "a.safetensors", {f"unet.{TO_Q}": 16}, **told)).numbers.values()

    assert alpha / 16 == 8 / 4


def test_a_unet_saved_by_itself_has_no_parts_in_its_names(tmp_path: Path) -> None:
    path = peft_file(tmp_path / "a.safetensors", {TO_Q: 4}, lora_alpha=2)

    assert plan(path).numbers == {f"{KOHYA}.alpha": 2}


def test_pefts_own_file_takes_its_alpha_from_the_config_beside_it(tmp_path: Path) -> None:
    path = peft_file(tmp_path / "adapter_model.safetensors", {f"base_model.model.{TO_Q}": 4})
    with pytest.raises(
        ModelError, match=r"how strong adapter_model\.safetensors is stands in adapter_config\.json"
    ) as told:
        plan(path)
    assert told.value.problems[0].hint == f"put adapter_config.json into {tmp_path}"

    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 16}), encoding="utf-8")

    assert plan(path).numbers == {f"{KOHYA}.alpha": 16}


@pytest.mark.parametrize(
    ("module", "endings", "alpha", "name"),
    [
        (f"unet.{TO_Q}", (".lora_B", ".lora_A"), f"unet.{TO_Q}.alpha", KOHYA),
        (f"unet.{TO_Q}", (".lora.up", ".lora.down"), f"unet.{TO_Q}.lora.alpha", KOHYA),
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_q", ("_lora.up", "_lora.down"),
         "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.alpha", KOHYA),
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_out", ("_lora.up", "_lora.down"),
         "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.alpha", KOHYA_OUT),
        (f"text_encoder_2.{TEXT}", (".lora_linear_layer.up", ".lora_linear_layer.down"),
         f"text_encoder_2.{TEXT}.alpha", KOHYA_TEXT),
    ],
)  # fmt: skip
def test_an_alpha_beside_factors_of_any_name_counts(
    tmp_path: Path, module: str, endings: tuple[str, str], alpha: str, name: str
) -> None:
    tensors = {
        f"{module}{endings[0]}.weight": tensor_files.numbers(12, 4),
        f"{module}{endings[1]}.weight": tensor_files.numbers(4, 16),
        alpha: np.array(2.0),
    }

    assert plan(tensor_files.write(tmp_path / "a.safetensors", tensors, "F32")).numbers == {f"{name}.alpha": 2}


def test_an_alpha_that_is_no_number_is_no_strength(tmp_path: Path) -> None:
    path = peft_file(tmp_path / "a.safetensors", {f"unet.{TO_Q}": 4}, **{"unet.lora_alpha": "much"})

    with pytest.raises(ModelError, match="is no number"):
        plan(path)


def test_diffusers_is_told_of_unlike_ranks_and_takes_each_at_its_strength(tmp_path: Path) -> None:
    """Without that, it takes the first rank for the alpha of all."""
    path = peft_file(tmp_path / "a.safetensors", {f"unet.{TO_Q}": 8, f"unet.{TO_OUT}": 2, f"text_encoder_2.{TEXT}": 4})

    told = json.loads(plan(path, Naming.DIFFUSERS).metadata["lora_adapter_metadata"])

    assert told["unet.rank_pattern"] == told["unet.alpha_pattern"] == {TO_OUT: 2}
    assert (told["unet.r"], told["unet.lora_alpha"], told["text_encoder_2.lora_alpha"]) == (8, 8, 4)
    assert told["unet.target_modules"] == [TO_Q, TO_OUT]
    assert not any(key.startswith("text_encoder.") for key in told)


@pytest.mark.parametrize(
    ("beside", "words"),
    [
        (f"unet.{TO_Q}.lora_magnitude_vector", "is a DoRA"),
        (f"unet.{TO_Q}.lora_magnitude_vector.weight", "is a DoRA"),
        (f"unet.{TO_Q}.scalar", "more than two factors and an alpha, such as unet"),
        (f"unet.{TO_Q}.lora_B.bias", "more than two factors and an alpha, such as unet"),
    ],
)
def test_no_tensor_is_left_behind_in_silence(tmp_path: Path, beside: str, words: str) -> None:
    tensors = {
        f"unet.{TO_Q}.lora_B.weight": tensor_files.numbers(12, 4),
        f"unet.{TO_Q}.lora_A.weight": tensor_files.numbers(4, 16),
        beside: tensor_files.numbers(12),
    }
    path = tensor_files.write(tmp_path / "a.safetensors", tensors, "F32")

    with pytest.raises(ModelError, match=words):
        plan(path)
    with pytest.raises(ModelError, match=words):
        resizing.require(handed.open_network(path, "resize"), Smaller("fp16", 2))
