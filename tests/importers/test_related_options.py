# ruff: noqa: E501 - scripts and settings stand as people write them
"""Options that exclude each other, one of them off: the order of lines never matters, and no choice is lost."""

from __future__ import annotations

import pytest
from foreign_files import entry, of_text, options, recipe_of, require_sound

from sdxl_train_cli.importers import related_options
from sdxl_train_cli.importers.foreign_settings import KeyFate
from sdxl_train_cli.sdscripts import shipped
from sdxl_train_cli.sdscripts.attention import ATTENTIONS, chosen_attention

BASE = {"network_module": '"networks.lora"', "network_dim": "8", "learning_rate": "1e-4"}
PAIRS: tuple[tuple[dict[str, str], dict[str, object]], ...] = (
    ({"xformers": "true", "sdpa": "false"}, {"sdpa": True}),
    ({"xformers": "true", "sdpa": "false", "mem_eff_attn": "false"}, {"sdpa": True, "mem_eff_attn": None}),
    ({"sdpa": "true", "xformers": "false"}, {"sdpa": True}),
    ({"mem_eff_attn": "true", "sdpa": "false"}, {"mem_eff_attn": True}),
    ({"mem_eff_attn": "true", "xformers": "false"}, {"mem_eff_attn": True}),
    ({"xformers": "false", "sdpa": "false"}, {"sdpa": True}),
    ({"diffusers_xformers": "true", "sdpa": "false"}, {"sdpa": True}),
    ({"cache_latents": "false", "cache_latents_to_disk": "true"}, {"cache_latents": True, "cache_latents_to_disk": True}),
    ({"cache_latents": "true", "cache_latents_to_disk": "false"}, {"cache_latents": True, "cache_latents_to_disk": None}),
    ({"cache_text_encoder_outputs": "false", "cache_text_encoder_outputs_to_disk": "true", "network_train_unet_only": "true"},
     {"cache_text_encoder_outputs": True, "cache_text_encoder_outputs_to_disk": True}),
    ({"full_fp16": "false", "full_bf16": "true", "mixed_precision": '"bf16"'}, {"full_bf16": True, "full_fp16": None}),
    ({"full_fp16": "true", "full_bf16": "false", "mixed_precision": '"fp16"'}, {"full_fp16": True, "full_bf16": None}),
    ({"network_train_unet_only": "true", "network_train_text_encoder_only": "false"}, {"network_train_unet_only": True}),
    ({"network_train_unet_only": "false", "network_train_text_encoder_only": "true"},
     {"network_train_unet_only": None, "network_train_text_encoder_only": True}),
    ({"max_train_steps": "0", "max_train_epochs": "10"}, {"max_train_epochs": 10, "max_train_steps": None}),
    ({"max_train_steps": "1000", "max_train_epochs": "0"}, {"max_train_steps": 1000, "max_train_epochs": None}),
    ({"save_every_n_steps": "0", "save_every_n_epochs": "2"}, {"save_every_n_epochs": 2, "save_every_n_steps": None}),
    ({"use_8bit_adam": "false", "optimizer_type": '"Lion"'}, {"optimizer_type": "Lion"}),
    ({"use_8bit_adam": "true", "optimizer_type": '""'}, {"use_8bit_adam": True, "optimizer_type": None}),
    ({"v_parameterization": "true", "v2": "false"}, {"v_parameterization": True}),
    ({"fp8_base": "false", "fp8_base_unet": "true", "mixed_precision": '"bf16"'}, {"fp8_base_unet": True}),
    ({"noise_offset": "0", "multires_noise_iterations": "6"}, {"multires_noise_iterations": 6, "noise_offset": None}),
    ({"random_crop": "true", "cache_latents": "false"}, {"random_crop": True, "cache_latents": None}),
    ({"persistent_data_loader_workers": "true", "max_data_loader_n_workers": "0"}, {"max_data_loader_n_workers": 0}),
    ({"torch_compile": "false", "dynamo_backend": '"inductor"', "sdpa": "true"}, {"torch_compile": None, "sdpa": True}),
)  # fmt: skip


@pytest.mark.parametrize(("lines", "wanted"), PAIRS, ids=[" ".join(lines) for lines, _ in PAIRS])
def test_a_pair_means_the_same_in_every_order(lines: dict[str, str], wanted: dict[str, object]) -> None:
    for order in (list(lines.items()), list(reversed(lines.items()))):
        found = of_text("\n".join(f"{key} = {value}" for key, value in {**BASE, **dict(order)}.items() if key not in lines)
                        + "\n" + "\n".join(f"{key} = {value}" for key, value in order))  # fmt: skip
        given = options(found)

        assert {option: given.get(option, 0 if value == 0 and value is not False and value is not None else None)
                for option, value in wanted.items()} == wanted  # fmt: skip
        assert chosen_attention(recipe_of(found)) is not None
        require_sound(found)


def test_plain_attention_is_never_taken_in_silence() -> None:
    found = of_text("network_dim = 8\nlearning_rate = 1e-4\nsdpa = false\nxformers = false\n")

    assert entry(found, "sdpa").what is KeyFate.IGNORED
    assert "35 GB" in entry(found, "sdpa").note


def test_the_table_names_options_that_there_are() -> None:
    groups, implied = related_options._tables()  # noqa: SLF001 - the table itself
    known = {option.name for options in shipped.table().scripts.values() for option in options}

    assert {name for group in groups for name in group.options} | {row.turns_on for row in implied} <= known
    assert any(tuple(group.options) == ATTENTIONS for group in groups)
