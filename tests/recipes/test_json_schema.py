"""The schema of presets takes what sdxl-train takes, and marks what it would refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import json_schema, preset_folders, presets, yaml_file
from sdxl_train_cli.sdscripts import shipped
from sdxl_train_cli.sdscripts.options import Option, OptionTable

TABLE = shipped.table()
SHIPPED = sorted(preset_folders.shipped_folder().rglob("*.yaml"))
NAMES = {kind: presets.names(kind) for kind in Kind}


def validator(kind: Kind | None = None, table: OptionTable = TABLE) -> Draft202012Validator:
    built = json_schema.build(table, kind, NAMES)
    Draft202012Validator.check_schema(built)
    return Draft202012Validator(built)


def content(text: str) -> dict[str, object]:
    """A preset as an editor's YAML reader gives it to the schema."""
    entries = yaml_file.parse(text, "a.yaml").entries
    return {entry.key: list(entry.value) if isinstance(entry.value, tuple) else entry.value for entry in entries}


def wrong(text: str, kind: Kind | None = None) -> list[str]:
    return [error.message for error in validator(kind).iter_errors(content(text))]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_shipped_preset_is_taken(path: Path) -> None:
    kind = next((kind for kind in Kind if kind.value == path.parent.name), None)
    text = path.read_text(encoding="utf-8")

    assert wrong(text) == []
    assert wrong(text, kind) == []


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("netwrk_dim: 32", "'netwrk_dim' was unexpected"),
        ("network_dim: many", "many"),
        ("network_dim: 0", "0"),
        ("network_dim: 1.5", "1.5"),
        ("learning_rate: -1", "-1"),
        ("gradient_checkpointing: sometimes", "sometimes"),
        ("loss_type: l3", "l3"),
        ("max_token_length: 77", "77"),
        ("network_args: [conv_dim]", "conv_dim"),
        ("vae: a.safetensors", "'vae' was unexpected"),
        ("extends: 5", "5"),
    ],
)
def test_what_would_be_refused_is_marked(text: str, part: str) -> None:
    (message,) = wrong(text)

    assert part in message


@pytest.mark.parametrize(
    "text",
    [
        "learning_rate: 1e-4",
        "learning_rate: .5",
        "resolution: [1024, 1024]",
        "resolution: 1024",
        "min_snr_gamma: null",
        "network_args: conv_dim=8 conv_alpha=4",
        "text_encoder_lr: [1e-5, 2e-5]",
        "max_token_length: 225",
        "lr_warmup_steps: 0.05",
    ],
)
def test_every_way_to_write_a_value_is_taken(text: str) -> None:
    assert wrong(text) == []


def test_an_option_of_the_other_script_is_marked_in_a_preset_of_one_kind() -> None:
    assert wrong("network_dim: 8", Kind.DREAMBOOTH) == [
        "Additional properties are not allowed ('network_dim' was unexpected)"
    ]
    assert wrong("network_dim: 8") == []


def test_the_words_are_the_installed_parsers_and_the_presets_are_offered() -> None:
    option = Option(
        name="save_model_as", flag="--save_model_as", type="str", many=False, choices=("ckpt", "pt"), default="pt",
        help="format of the file / 形式",
    )  # fmt: skip
    other = option.model_copy(update={"choices": ("ckpt", "diffusers"), "default": None})
    table = OptionTable(scripts={Kind.LORA.script: (option,), Kind.DREAMBOOTH.script: (other,)})
    built = json_schema.build(table, None, NAMES)
    properties = built["properties"]

    assert isinstance(properties, dict)
    assert properties["save_model_as"]["description"] == "format of the file (default: pt)"
    assert {"dim32-gc", "factor8"} <= set(properties["extends"]["examples"])
    taken = validator(None, table)
    assert all(taken.is_valid({"save_model_as": value}) for value in ("ckpt", "pt", "diffusers", None))
    assert not taken.is_valid({"save_model_as": "png"})


def test_schedules_and_optimizers_are_offered_though_the_parser_lists_none() -> None:
    built = json_schema.build(TABLE, None, NAMES)["properties"]

    assert isinstance(built, dict)
    assert "cosine" in built["lr_scheduler"]["examples"]
    assert {"adamw8bit", "prodigy", "SGD"} <= set(built["optimizer_type"]["examples"])
    assert "networks.loha" in built["network_module"]["examples"]
    assert all(wrong(f"lr_scheduler: {name}") == [] for name in built["lr_scheduler"]["examples"])
