"""What a header tells: kind, family, rank, names, and what the metadata claims."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import tensor_files
from tensor_files import checkpoint, lora, numbers, write

from sdxl_train_cli.errors import ModelError
from sdxl_train_cli.inspection import model_file, programs
from sdxl_train_cli.inspection.model_file import ModelFile
from sdxl_train_cli.inspection.programs import Obstacle


def told(path: Path) -> ModelFile:
    return model_file.read(path)


def readers(model: ModelFile) -> dict[str, Obstacle | None]:
    return {reading.program: reading.obstacle for reading in programs.readings(model)}


def test_a_lora_is_told_with_rank_alpha_steps_and_base(tmp_path: Path) -> None:
    said = {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora", "modelspec.prediction_type": "v"}
    path = write(tmp_path / "кот.safetensors", lora(), ss_network_alpha="2.0", ss_steps="300", **said)
    model = told(path)

    assert (model.what, model.family, model.ranks, model.alpha, model.steps) == ("LoRA", "SDXL", (4,), 2.0, 300)
    assert (model.said_prediction, model.said_family, model.dtypes) == ("v-prediction", "SDXL", ("F16",))
    assert (len(model.modules), model.without_alpha, model.dialects) == (3, 0, ("kohya",))


def test_a_lora_of_convolutions_is_a_locon(tmp_path: Path) -> None:
    name = "lora_unet_input_blocks_1_0_in_layers_2"
    conv = {f"{name}.lora_down.weight": numbers(4, 8, 3, 3), f"{name}.lora_up.weight": numbers(8, 4, 1, 1)}

    assert told(write(tmp_path / "a.safetensors", {**lora(), **conv})).what == "LoCon"


@pytest.mark.parametrize(
    ("ends", "kind"),
    [(("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"), "LoHa"), (("lokr_w1", "lokr_w2"), "LoKr"),
     (("a1.weight", "a2.weight", "b1.weight", "b2.weight"), "GLoRA"), (("oft_blocks",), "OFT"),
     (("diff",), "full difference"), (("weight", "on_input"), "(IA)^3")],
)  # fmt: skip
def test_the_kin_of_a_lora_are_told_apart(tmp_path: Path, ends: tuple[str, ...], kind: str) -> None:
    tensors = {f"lora_unet_middle_block_1_proj_in.{end}": numbers(4, 4) for end in ends}

    assert told(write(tmp_path / "a.safetensors", tensors)).what == kind


def test_a_checkpoint_and_its_prediction_type_are_told(tmp_path: Path) -> None:
    plain = told(write(tmp_path / "a.safetensors", checkpoint()))
    v_pred = told(write(tmp_path / "b.safetensors", {**checkpoint(), "v_pred": np.zeros(0)}))

    assert (plain.what, plain.is_checkpoint, plain.family, plain.prediction) == ("checkpoint", True, "SDXL", None)
    assert (v_pred.is_checkpoint, v_pred.prediction) == (True, "v-prediction")
    assert set(readers(v_pred).values()) == {None}


@pytest.mark.parametrize(
    ("side", "family"), [(768, "SD 1.x"), (1024, "SD 2.x"), (2048, "SDXL")],
)  # fmt: skip
def test_the_width_of_the_text_tells_the_base_of_a_lora(tmp_path: Path, side: int, family: str) -> None:
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    tensors = {f"{name}.lora_down.weight": numbers(4, side), f"{name}.lora_up.weight": numbers(8, 4)}

    assert told(write(tmp_path / "a.safetensors", tensors)).family == family


def test_a_lora_of_another_model_is_told(tmp_path: Path) -> None:
    tensors = lora(modules=("double_blocks_0_img_attn_qkv",))

    assert told(write(tmp_path / "a.safetensors", tensors)).family == "Flux"


@pytest.mark.parametrize(
    ("prefix", "cannot"),
    [("lora_unet_", set()), ("lycoris_", {"Forge", "A1111", "diffusers"}),
     ("lora_unet__orig_mod_", {"ComfyUI", "Forge", "A1111", "diffusers"}),
     ("my_model_", {"ComfyUI", "Forge", "A1111", "diffusers"})],
)  # fmt: skip
def test_who_reads_a_lora_goes_by_its_names(tmp_path: Path, prefix: str, cannot: set[str]) -> None:
    found = readers(told(write(tmp_path / "a.safetensors", lora(prefix=prefix))))

    assert {program for program, obstacle in found.items() if obstacle is Obstacle.NAMES} == cannot


def test_peft_names_are_read_but_by_a1111(tmp_path: Path) -> None:
    name = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    tensors = {f"{name}.lora_A.weight": numbers(4, 16), f"{name}.lora_B.weight": numbers(8, 4)}
    model = told(write(tmp_path / "a.safetensors", tensors))

    assert model.dialects == ("PEFT",)
    assert model.without_alpha == 0
    assert [program for program, obstacle in readers(model).items() if obstacle] == ["A1111"]


def test_diffusers_reads_no_loha(tmp_path: Path) -> None:
    ends = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    tensors = {f"lora_unet_middle_block_1_proj_in.{end}": numbers(4, 4) for end in ends}

    found = readers(told(write(tmp_path / "a.safetensors", tensors)))
    assert found == {"ComfyUI": None, "Forge": None, "A1111": None, "diffusers": Obstacle.KIND}


def test_nobody_reads_a_checkpoint_whose_unet_was_compiled(tmp_path: Path) -> None:
    renamed = {name.replace("_model.", "_model._orig_mod.", 1): values for name, values in checkpoint().items()}
    model = told(write(tmp_path / "a.safetensors", renamed))

    assert model.is_checkpoint
    assert set(readers(model).values()) == {Obstacle.NAMES}


def test_names_that_no_program_asks_for_do_no_harm(tmp_path: Path) -> None:
    model = told(write(tmp_path / "a.safetensors", {**checkpoint(), "denoiser.sigmas": numbers(4)}))

    assert set(readers(model).values()) == {None}


@pytest.mark.parametrize(
    ("tensors", "what"),
    [(("cond_stage_model.transformer.x", "model.diffusion_model.x"), "an SD 1.x model"),
     (("encoder.conv_in.weight",), "only a VAE"), (("clip_g",), "embedding"),
     (("something.else",), "unknown")],
)  # fmt: skip
def test_what_is_neither_is_named_and_nobody_is_said_to_read_it(
    tmp_path: Path, tensors: tuple[str, ...], what: str
) -> None:
    model = told(write(tmp_path / "a.safetensors", {name: numbers(4, 4) for name in tensors}))

    assert (model.what, model.is_network, programs.readings(model)) == (what, False, ())


def test_a_cut_off_file_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", lora())
    path.write_bytes(path.read_bytes()[:-10])

    with pytest.raises(ModelError, match="is cut off"):
        told(path)


@pytest.mark.parametrize("said", ["nan", "inf", "1e400", "", "none", "0x4"])
def test_metadata_that_says_no_number_says_nothing(tmp_path: Path, said: str) -> None:
    model = told(write(tmp_path / "a.safetensors", lora(), ss_steps=said, ss_network_alpha=said))

    assert (model.steps, model.alpha) == (None, None)


def test_every_rule_names_its_source() -> None:
    table = json.loads(model_file.NAMES.read_text(encoding="utf-8"))

    assert all(row["source"] for row in table["modules"])
    assert all(rule.source for rule in programs.load())
    assert {rule.program for rule in programs.load()} == {"ComfyUI", "Forge", "A1111", "diffusers"}


def test_a_header_without_tensors_is_unknown(tmp_path: Path) -> None:
    text = b"{}"
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text)

    assert told(path).what == "unknown"


def test_each_unet_name_of_the_samples_is_told_as_sdxl(tmp_path: Path) -> None:
    assert told(write(tmp_path / "a.safetensors", lora(modules=tensor_files.UNET[1:2]))).family == "SDXL"
