"""Lists of key=value: each argument is found, however it was written, and what was made of it is told."""

from __future__ import annotations

import pytest

from sdxl_train_cli.recipe import Kind, Setting, Value
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.recipes.presets import Override
from sdxl_train_cli.rules import rules
from sdxl_train_cli.sdscripts import key_values, shipped

TABLE = shipped.table()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("weight_decay=0.5, decouple=True", ("weight_decay=0.5", "decouple=True")),
        ("weight_decay=0.5,decouple=True", ("weight_decay=0.5", "decouple=True")),
        ("weight_decay=0.5; decouple=true,", ("weight_decay=0.5", "decouple=True")),
        (("weight_decay=0.5, decouple=True",), ("weight_decay=0.5", "decouple=True")),
        (("weight_decay=0.5,", "decouple=True"), ("weight_decay=0.5", "decouple=True")),
        ("weight_decay = 0.5 decouple = False", ("weight_decay=0.5", "decouple=False")),
        ('"weight_decay=0.5" "betas=0.9,0.99"', ("weight_decay=0.5", "betas=0.9,0.99")),
        ("betas=0.9,0.99", ("betas=0.9,0.99",)),
        ("betas=0.9, 0.99 weight_decay=1", ("betas=0.9,0.99", "weight_decay=1")),
        ("betas=(0.9, 0.99), weight_decay=1", ("betas=(0.9,0.99)", "weight_decay=1")),
        (("betas=(0.9,", "0.99)"), ("betas=(0.9,0.99)",)),
        (("betas=(0.9, 0.99)",), ("betas=(0.9, 0.99)",)),
        ("step_rules='1:1000, 0.1' x=NONE", ("step_rules='1:1000, 0.1'", "x=None")),
        ("[weight_decay=0.5, decouple=True]", ("weight_decay=0.5", "decouple=True")),
        ("('weight_decay=0.5', 'decouple=True')", ("weight_decay=0.5", "decouple=True")),
        ("{'weight_decay': 0.5, 'betas': (0.9, 0.99)}", ("weight_decay=0.5", "betas=(0.9,0.99)")),
        ('{"decouple": True}', ("decouple=True",)),
        ('{"decouple": true, "betas": [0.9, 0.99]}', ("decouple=True", "betas=[0.9,0.99]")),
        ("weight_decay=0.5，decouple=True", ("weight_decay=0.5", "decouple=True")),  # noqa: RUF001 - as typed in China
        ("weight_decay＝0.5； decouple＝true", ("weight_decay=0.5", "decouple=True")),  # noqa: RUF001
        ("“weight_decay=0.5” “decouple=True”", ("weight_decay=0.5", "decouple=True")),
        ("weight_decay", ("weight_decay",)),
        ("weight_decay=1 decouple", ("weight_decay=1", "decouple")),
        ("", ()),
    ],
)
def test_each_argument_is_a_word_of_its_own(written: Value, meant: tuple[str, ...]) -> None:
    assert key_values.parts("optimizer_args", written) == meant
    assert key_values.parts("optimizer_args", meant) == meant


def test_values_of_network_args_stay_text() -> None:
    found = key_values.parts("network_args", "conv_dim=8,conv_alpha=4 block_dims=1,2,3, use_tucker=true")

    assert found == ("conv_dim=8", "conv_alpha=4", "block_dims=1,2,3", "use_tucker=true")


@pytest.mark.parametrize("written", ["{'algo': 'lokr', 'factor': 8}", '{"algo": "lokr", "factor": "8"}'])
def test_a_mapping_for_a_network_has_no_quotes_in_its_values(written: str) -> None:
    assert key_values.parts("network_args", written) == ("algo=lokr", "factor=8")


@pytest.mark.parametrize("path", ["C:/my presets/x.toml", r"C:\my own presets\x y.toml", "/a b/c"])
def test_a_path_with_a_blank_stays_whole(path: str) -> None:
    found = key_values.parts("network_args", f"algo=lokr preset={path} factor=8")

    assert found == ("algo=lokr", f"preset={path}", "factor=8")


def test_a_path_with_a_blank_in_a_files_list_stays_whole() -> None:
    assert key_values.parts("network_args", ("algo=lokr", "preset=C:/my presets/x.toml")) == (
        "algo=lokr",
        "preset=C:/my presets/x.toml",
    )


@pytest.mark.parametrize("written", ["weight_decay=0.5, betas=0.9,0.99", ("weight_decay=0.5, betas=0.9,0.99",)])
def test_arguments_parted_by_commas_are_taken_apart_with_a_note(written: Value) -> None:
    recipe = presets.load(
        Kind.LORA, "dim32-gc", [Override("optimizer_args", written, presets.parse_override("a=1").origin)]
    )

    typed = rules.require(recipe, TABLE)

    assert typed.get("optimizer_args") == ("weight_decay=0.5", "betas=0.9,0.99")
    assert [str(warning) for warning in rules.warnings(typed)] == [
        "--set: optimizer_args is taken as weight_decay=0.5 betas=0.9,0.99"
    ]
    assert rules.require(typed, TABLE).settings == typed.settings


def test_what_is_written_as_sd_scripts_wants_it_has_no_note() -> None:
    recipe = presets.load(Kind.LORA, "dim32-gc").replaced(
        {"optimizer_args": Setting(value="weight_decay=0.5 betas=0.9,0.99"), "network_args": Setting(value=("a=b c",))}
    )

    assert not [setting.note for setting in rules.require(recipe, TABLE).settings.values() if setting.note]


def test_a_note_is_not_kept_with_the_run() -> None:
    assert Setting(value=1, note="x").model_dump() == {"value": 1, "origin": ""}
