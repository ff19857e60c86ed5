"""What shapes a run's memory, told apart from what does not."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from sdxl_train_cli.memory import estimation, memory_settings
from sdxl_train_cli.memory.memory_settings import MemorySettings
from sdxl_train_cli.recipe import Kind, Recipe, Value
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.rules import rules
from sdxl_train_cli.sdscripts import shipped

SHIPPED = [(found.kind, found.name) for found in presets.list_presets() if found.kind]


def recipe(kind: Kind = Kind.LORA, name: str = "dim32-gc", **changes: Value | None) -> Recipe:
    overrides = [Override(option, value, "--set") for option, value in changes.items()]
    return rules.require(presets.load(kind, name, overrides), shipped.table())


@pytest.mark.parametrize(("kind", "name"), SHIPPED)
def test_a_recipe_made_of_the_settings_has_the_same_settings_and_estimate(kind: Kind, name: str) -> None:
    original = recipe(kind, name, train_batch_size=3)
    again = memory_settings.recipe(memory_settings.read(original), (1024, 1024), 3)

    assert memory_settings.read(again) == memory_settings.read(original)
    assert estimation.estimate(again) == estimation.estimate(original)


@pytest.mark.parametrize(
    "changes",
    [
        {"train_batch_size": 2},
        {"network_dim": 64},
        {"network_args": ("conv_dim=16", "conv_alpha=1")},
        {"optimizer_type": "AdamW"},
        {"gradient_checkpointing": None},
        {"cache_latents": None},
        {"network_train_unet_only": None, "cache_text_encoder_outputs": None},
        {"mixed_precision": "fp16"},
        {"full_bf16": True},
        {"fp8_base": True},
        {"sdpa": None, "xformers": True},
        {"max_token_length": None},
        {"no_half_vae": None},
        {"gradient_accumulation_steps": 2},
        {"torch_compile": True},
        {"lowram": True},
        {"text_encoder_lr": 0.0},
    ],
)
def test_what_shapes_memory_makes_another_run(changes: dict[str, Value | None]) -> None:
    overrides = [Override(option, value, "--set") for option, value in changes.items()]
    changed = memory_settings.read(presets.load(Kind.LORA, "dim32-gc", overrides))

    assert not memory_settings.read(presets.load(Kind.LORA, "dim32-gc")).is_like(changed)


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 0.001},
        {"unet_lr": 0.001},
        {"network_alpha": 1},
        {"seed": 7},
        {"max_train_steps": 10},
        {"save_every_n_steps": 5},
        {"lr_scheduler": "cosine"},
        {"min_snr_gamma": None},
        {"noise_offset": 0.05},
        {"gradient_accumulation_steps": 1},
    ],
)
def test_what_changes_no_memory_is_the_same_run(changes: dict[str, Value | None]) -> None:
    assert memory_settings.read(recipe()).is_like(memory_settings.read(recipe(**changes)))


def test_an_option_that_is_not_known_to_be_harmless_makes_another_run() -> None:
    changed = presets.load(Kind.LORA, "dim32-gc", [Override("brand_new_option", True, "--set")])

    assert memory_settings.read(changed).others == "brand_new_option=true"


def test_paths_do_not_leave_the_machine() -> None:
    changed = presets.load(Kind.LORA, "dim32-gc", [Override("network_weights", "/home/me/secret.safetensors", "--set")])

    assert memory_settings.read(changed).others == "network_weights=set"


def test_the_words_name_what_a_person_chose() -> None:
    words = memory_settings.read(recipe(Kind.LOCON, "dim64-conv32-gc", gradient_accumulation_steps=4)).words

    assert words == "LoCon 64+32, gc, adamw8bit, sdpa, trains unet, text cached, accumulates"


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "x" * 2000])
def test_text_that_a_terminal_would_obey_is_refused(text: str) -> None:
    known = memory_settings.read(recipe())

    with pytest.raises(ValidationError):
        MemorySettings(**{**dict(known), "others": text})
