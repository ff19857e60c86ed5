# ruff: noqa: E501, ISC004 - scripts and settings stand as people write them
"""An optimizer, schedule or network that sd-scripts does not have: the rest is taken, and the name is told."""

from __future__ import annotations

import pytest
from foreign_files import entry, of_text, options, require_sound

from sdxl_train_cli.importers.foreign_settings import KeyFate

BASE = 'network_module = "networks.lora"\nnetwork_dim = 8\n'


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ('optimizer_type = "CAME"\nlearning_rate = 1e-4', {"optimizer_type": "pytorch_optimizer.CAME"}),
        ('optimizer_type = "adamw_8bit"\nlearning_rate = 1e-4', {"optimizer_type": "adamw8bit"}),
        ('optimizer_type = "rmsprop"\nlearning_rate = 1e-4', {"optimizer_type": "RMSprop"}),
        (
            'optimizer_type = "Prodigy_Plus_Schedule_Free"\nlearning_rate = 1.0',
            {"optimizer_type": "prodigyplus.ProdigyPlusScheduleFree", "learning_rate": 1},
        ),
        ('lr_scheduler = "Cosine_With_Restarts"\nlearning_rate = 1e-4', {"lr_scheduler": "cosine_with_restarts"}),
        ('network_module = "LoRA_FA"\nlearning_rate = 1e-4', {"network_module": "networks.lora_fa"}),
    ],
)
def test_the_same_under_another_name_is_taken_without_a_warning(lines: str, wanted: dict[str, object]) -> None:
    base = BASE if "network_module" not in lines else "network_dim = 8\n"
    found = of_text(base + lines)

    assert {option: options(found).get(option) for option in wanted} == wanted
    assert found.warnings == ()
    require_sound(found)


@pytest.mark.parametrize(
    ("lines", "wanted", "line"),
    [
        ('learning_rate = 1e-4\noptimizer_type = "NovelAdam"\noptimizer_args = ["gamma=3"]',
         {"optimizer_type": "AdamW8bit", "optimizer_args": None, "network_dim": 8}, 4),
        ('learning_rate = 1.0\noptimizer_type = "NovelOne"', {"optimizer_type": "Prodigy", "learning_rate": 1}, 4),
        ('learning_rate = 1.0\noptimizer_type = "devFusionScheduleFree"\noptimizer_args = ["use_prodigy=True"]',
         {"optimizer_type": "prodigyplus.ProdigyPlusScheduleFree", "optimizer_args": None}, 4),
        ('learning_rate = 1e-4\nlr_scheduler = "rex"', {"lr_scheduler": "cosine"}, 4),
        ('learning_rate = 1e-4\nlr_scheduler = "cosine_annealing_warm_restarts"', {"lr_scheduler": "cosine_with_restarts"}, 4),
        ('learning_rate = 1e-4\nlr_scheduler_type = "RexLR"\nlr_scheduler_args = ["a=1"]',
         {"lr_scheduler_type": None, "lr_scheduler_args": None, "learning_rate": 1e-4}, 4),
    ],
)  # fmt: skip
def test_an_unknown_name_keeps_the_rest_and_is_told_with_its_line(
    lines: str, wanted: dict[str, object], line: int
) -> None:
    found = of_text(BASE + lines)

    assert {option: options(found).get(option) for option in wanted} == wanted
    (warning,) = found.warnings
    assert str(warning.where) == f"some:{line}"
    assert warning.hint is not None
    require_sound(found)


def test_an_unknown_network_becomes_a_plain_lora() -> None:
    found = of_text('network_module = "networks.blora"\nnetwork_dim = 8\nlearning_rate = 1e-4\nnetwork_args = ["x=1"]')

    assert (options(found)["network_module"], options(found).get("network_args")) == ("networks.lora", None)
    assert str(found.warnings[0].where) == "some:1"


@pytest.mark.parametrize(
    "text",
    [
        '[general_args.args]\nsdxl = true\n[network_args.args]\nnetwork_dim = 8\n[optimizer_args.args]\n'
        'optimizer_type = "Prodigy"\nlearning_rate = 1.0\n[extra_args.args]\ndecouple = "True"\nd_coef = "2"\n',
        BASE + 'optimizer_type = "Prodigy"\nlearning_rate = 1.0\ndecouple = true\nd_coef = 2\n',
        "python sdxl_train_network.py --network_dim 8 --optimizer_type Prodigy --learning_rate 1 --decouple=True --d_coef 2",
    ],
)  # fmt: skip
def test_arguments_of_the_optimizer_among_free_options_are_put_where_they_are_read(text: str) -> None:
    found = of_text(text)

    assert set(options(found)["optimizer_args"]) == {"decouple=True", "d_coef=2"}  # type: ignore[arg-type]
    assert any(one.what is KeyFate.RENAMED and "decouple" in one.key for one in found.entries)


def test_arguments_of_the_network_among_free_options_are_put_where_they_are_read() -> None:
    found = of_text(BASE + "learning_rate = 1e-4\nconv_dim = 4\nconv_alpha = 2\n")

    assert set(options(found)["network_args"]) == {"conv_dim=4", "conv_alpha=2"}  # type: ignore[arg-type]
    assert entry(found, "conv_dim").what is KeyFate.RENAMED


@pytest.mark.parametrize(
    ("written", "taken", "warned"), [("fp8", "bf16", True), ("half", "fp16", False), ("bfloat16", "bf16", False)]
)
def test_a_precision_that_is_none_of_sd_scripts_is_replaced_and_never_left_off(
    written: str, taken: str, *, warned: bool
) -> None:
    found = of_text(f'{BASE}learning_rate = 1e-4\nmixed_precision = "{written}"\n')

    assert options(found)["mixed_precision"] == taken
    assert bool(found.warnings) is warned


def test_an_argument_that_would_train_nothing_is_taken_out_and_the_others_stay() -> None:
    lines = 'learning_rate = 1.0\noptimizer_type = "prodigyplus.ProdigyPlusScheduleFree"\n'
    found = of_text(BASE + lines + 'optimizer_args = ["d_coef=0.1", "fused_back_pass=True", "d0=1e-4"]')

    assert options(found)["optimizer_args"] == ("d_coef=0.1", "d0=1e-4")
    assert entry(found, "optimizer_args").what is KeyFate.COMPUTED
    (warning,) = found.warnings
    assert "d_coef=0.1 d0=1e-4 is taken in its place: with fused_back_pass" in warning.message
    require_sound(found)


def test_a_single_argument_that_would_train_nothing_is_left_out() -> None:
    lines = 'learning_rate = 1.0\noptimizer_type = "prodigyplus.ProdigyPlusScheduleFree"\n'
    found = of_text(BASE + lines + 'optimizer_args = ["fused_back_pass=True"]')

    assert options(found).get("optimizer_args") is None
    require_sound(found)
