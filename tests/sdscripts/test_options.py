"""Values become what sd-scripts' argparse would make of them, or are refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdxl_train_cli.origin import Origin
from sdxl_train_cli.recipe import Kind, Recipe, Scalar, Setting, Value
from sdxl_train_cli.sdscripts import options, shipped
from sdxl_train_cli.sdscripts.options import Option, OptionTable, OptionType

TABLE = shipped.table()


def recipe(settings: dict[str, Value], kind: Kind = Kind.LORA) -> Recipe:
    return Recipe(
        kind=kind,
        name="mine",
        description="",
        settings={name: Setting(value=value, origin="--set") for name, value in settings.items()},
    )


def told(name: str, value: Value, kind: Kind = Kind.LORA) -> str:
    (problem,) = options.problems(recipe({name: value}, kind), TABLE)
    assert str(problem.where) == "--set"
    return f"{problem.message} / {problem.hint}" if problem.hint else problem.message


def typed(name: str, value: Value) -> Value | None:
    given = recipe({name: value})
    assert list(options.problems(given, TABLE)) == []
    return options.convert(given, TABLE).get(name)


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("learning_rate", "1e-4", 1e-4),
        ("learning_rate", "5e-324", 5e-324),
        ("learning_rate", 1, 1),
        ("max_grad_norm", 0, 0),
        ("max_grad_norm", "0", 0),
        ("network_dim", "32", 32),
        ("network_dim", 32.0, 32),
        ("max_train_steps", "1e3", 1000),
        ("seed", 2**53 + 1, 2**53 + 1),
        ("sdpa", "True", True),
        ("sdpa", "false", False),
        ("lr_warmup_steps", 0.05, 0.05),
        ("lr_warmup_steps", "0.05", 0.05),
        ("lr_warmup_steps", "100", 100),
        ("lr_warmup_steps", "10%", 0.1),
        ("resolution", (1024, 768), "1024,768"),
        ("resolution", 1024, "1024"),
        ("mixed_precision", "bf16", "bf16"),
        ("max_token_length", "225", 225),
        ("network_args", "conv_dim=32 conv_alpha=16", ("conv_dim=32", "conv_alpha=16")),
        ("network_args", ("conv_dim=32", "conv_alpha=16"), ("conv_dim=32", "conv_alpha=16")),
        ("network_args", (), ()),
        ("text_encoder_lr", "1e-5", (1e-5,)),
        ("text_encoder_lr", 0.5, (0.5,)),
        ("base_weights_multiplier", "-0.5 1", (-0.5, 1.0)),
        ("log_prefix", "-dash", "-dash"),
        ("log_prefix", "", ""),
    ],
)
def test_a_value_gets_the_type_of_its_option(name: str, written: Value, value: Value) -> None:
    got = typed(name, written)

    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("network_dim", True, "network_dim: takes a whole number, not 'True'"),
        ("network_dim", "32.5", "network_dim: takes a whole number, not '32.5'"),
        ("network_dim", "", "network_dim: takes a whole number, not ''"),
        ("network_dim", "0x20", "network_dim: takes a whole number, not '0x20'"),
        ("network_dim", "inf", "takes a whole number"),
        ("network_dim", "9" * 400, "takes a whole number"),
        ("network_dim", (32, 64), "network_dim: takes one value, not a list of 2"),
        ("learning_rate", "nan", "learning_rate: takes a number, not 'nan'"),
        ("learning_rate", "-inf", "takes a number"),
        ("learning_rate", "1e999", "takes a number"),
        ("learning_rate", 10**400, "takes a number"),
        ("learning_rate", False, "takes a number, not 'False'"),
        ("learning_rate", "1,5", "takes a number, not '1,5'"),
        ("sdpa", "yes", "sdpa: is a switch, true or false, not 'yes'"),
        ("sdpa", 1, "is a switch"),
        ("output_name", True, "output_name: takes text, not true"),
        ("mixed_precision", "bf32", "mixed_precision: 'bf32' is not one of no, fp16, bf16"),
        ("max_token_length", 75, "max_token_length: '75' is not one of 150, 225"),
        ("text_encoder_lr", ("1e-5", "x"), "text_encoder_lr: takes a number, not 'x'"),
        ("log_prefix", "a\0b", "log_prefix: 'a\\x00b' can't be given on a command line"),
        ("log_prefix", "--", "log_prefix: '--' can't be given on a command line"),
    ],
)
def test_a_value_that_sd_scripts_would_not_take_is_refused(name: str, value: Value, words: str) -> None:
    assert words in told(name, value)


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("max_train_steps=abc", "such as --set max_train_steps=1600"),
        ("max_train_epochs=ten", "such as --set max_train_epochs=16"),
        ("learning_rate=nan", "such as --set learning_rate=1e-4"),
        ("unet_lr=fast", "such as --set unet_lr=1e-4"),
    ],
)
def test_a_number_that_cannot_be_read_is_answered_with_an_example_not_with_null(typed: str, hint: str) -> None:
    option, _, value = typed.partition("=")
    at_terminal = recipe({option: value})
    in_a_file = at_terminal.replaced({option: Setting(value=value, origin=Origin("a.yaml", 3))})
    [typed_problem], [file_problem] = (options.problems(each, TABLE) for each in (at_terminal, in_a_file))

    assert (typed_problem.hint, typed_problem.ways) == (hint, ())
    assert [way.settings for way in file_problem.ways] == [(f"{option}=null",)]


@pytest.mark.parametrize("value", ["-v", "--output_dir=/etc", "conv_dim=32 --v2", "-"])
def test_no_option_is_smuggled_in_through_a_list(value: str) -> None:
    assert "in a list would be taken for an option" in told("network_args", value)
    assert "in a list would be taken for an option" in told("network_args", tuple(value.split()))


def test_a_negative_number_that_argparse_would_take_for_an_option_is_refused() -> None:
    assert "'-1e-05' in a list would be taken for an option" in told("base_weights_multiplier", "-1e-5")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("network_dims", "sdxl_train_network.py has no option 'network_dims' in v0.11.1 / did you mean network_dim"),
        ("--network-dim", "instead: --set network_dim=1"),
        ("fused_backward_pas", "did you mean fused_backward_pass?"),
        ("block_lr", "'block_lr' is an option of sdxl_train.py, not of sdxl_train_network.py"),
        ("qwertyuiop", "sdxl_train_network.py has no option 'qwertyuiop' in v0.11.1"),
        ("", "has no option ''"),
    ],
)
def test_an_unknown_option_is_told_with_the_nearest(name: str, words: str) -> None:
    assert words in told(name, 1)


def test_an_option_of_the_other_script_is_told_by_its_script() -> None:
    message = told("network_dim", 32, Kind.DREAMBOOTH)

    assert message.startswith("'network_dim' is an option of sdxl_train_network.py, not of sdxl_train.py")


def test_everything_that_is_wrong_is_told_at_once() -> None:
    found = options.problems(recipe({"network_dims": 1, "network_dim": "x", "sdpa": 2, "seed": 1}), TABLE)

    assert len(list(found)) == 3


def test_an_installed_sd_scripts_is_what_is_meant_where_no_release_is_named() -> None:
    (problem,) = options.problems(recipe({"qwertyuiop": 1}), TABLE.model_copy(update={"release": None}))

    assert problem.message == "sdxl_train_network.py has no option 'qwertyuiop'"


def one(type_: OptionType, choices: tuple[Scalar | None, ...]) -> OptionTable:
    option = Option(name="it", flag="--it", type=type_, many=False, choices=choices, default=None)
    return OptionTable(scripts={Kind.LORA.script: (option,)})


def test_no_choice_is_not_offered_as_a_choice() -> None:
    (problem,) = options.problems(recipe({"it": "None"}), one("str", (None, "fp16")))

    assert problem.message == "it: 'None' is not one of fp16"


def test_a_table_is_read_as_it_was_written_and_newer_keys_do_not_matter(tmp_path: Path) -> None:
    scripts = one("int", (1, 2)).scripts
    table = OptionTable(scripts={kind.script: scripts[Kind.LORA.script] for kind in Kind})
    path = tmp_path / "options.json"
    path.write_text(table.model_dump_json().replace('"name"', '"newer": 1, "name"'), encoding="utf-8")

    assert OptionTable.load(path) == table


scalars = st.booleans() | st.integers() | st.floats() | st.text()


@given(st.sampled_from(sorted(TABLE.of(Kind.LORA))), scalars | st.lists(scalars, max_size=3).map(tuple))
def test_any_value_is_typed_or_refused_in_words(name: str, value: Value) -> None:
    given = recipe({name: value})

    if not list(options.problems(given, TABLE)):
        once = options.convert(given, TABLE)
        assert options.convert(once, TABLE).settings == once.settings
