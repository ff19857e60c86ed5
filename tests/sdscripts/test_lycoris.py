"""What is launched for a LoHa or LoKr: the module that is there, and arguments that say to it what they mean."""

from __future__ import annotations

import itertools

import pytest

from sdxl_train_cli.errors import RecipeError
from sdxl_train_cli.recipe import Kind, Recipe, Setting
from sdxl_train_cli.sdscripts import lycoris

ALL = frozenset(lycoris.NATIVE)
NONE: frozenset[str] = frozenset()


def recipe(module: str, *arguments: str) -> Recipe:
    settings = {"network_module": Setting(value=module, origin="a.yaml:1")}
    if arguments:
        settings["network_args"] = Setting(value=arguments, origin="a.yaml:2")
    return Recipe(kind=Kind.LOKR, name="mine", description="", settings=settings)


def settled(module: str, *arguments: str, native: frozenset[str] = NONE) -> tuple[object, object]:
    found = lycoris.resolve(recipe(module, *arguments), native)
    return found.get("network_module"), found.get("network_args")


def lycoris_takes(arguments: dict[str, str]) -> dict[str, bool]:
    """What lycoris/kohya.py of 3.2.0.post2 makes of its texts: a model of its reading, told by its source."""
    taken = dict(arguments)
    for old, new in {"disable_conv_cp": "use_tucker", "use_cp": "use_tucker", "use_conv_cp": "use_tucker"}.items():
        if old in taken:
            taken[new] = taken[old]
    tucker: object = (
        not taken.get("disable_conv_cp", True)
        or taken.get("use_conv_cp", False)
        or taken.get("use_cp", False)
        or taken.get("use_tucker", False)
    )
    return {
        "use_tucker": str(tucker).lower() != "false",
        "decompose_both": bool(taken.get("decompose_both", False)),
        "dora_wd": str(taken.get("dora_wd", False)).lower() != "false",
        "wd_on_output": str(taken.get("wd_on_output", True)).lower() != "false",
    }


def test_sd_scripts_own_module_is_used_where_it_is_there() -> None:
    assert settled("networks.lokr", "factor=8", native=ALL) == ("networks.lokr", ("factor=8",))
    assert settled("networks.loha", native=ALL) == ("networks.loha", None)


def test_lycoris_stands_in_with_the_same_layers_and_the_same_alpha() -> None:
    assert settled("networks.lokr", "factor=8") == ("lycoris.kohya", ("algo=lokr", "preset=attn-mlp", "factor=8"))
    assert settled("networks.loha") == ("lycoris.kohya", ("algo=loha", "preset=attn-mlp"))
    assert settled("networks.loha", "conv_dim=8") == ("lycoris.kohya", ("algo=loha", "conv_alpha=1", "conv_dim=8"))
    kept = ("algo=loha", "conv_alpha=4", "conv_dim=8")
    assert settled("networks.loha", "conv_dim=8", "conv_alpha=4") == ("lycoris.kohya", kept)


def test_lycoris_is_kept_where_it_is_asked_for() -> None:
    assert settled("lycoris.kohya", "algo=lokr", native=ALL) == ("lycoris.kohya", ("algo=lokr",))


def test_any_other_module_is_left_alone() -> None:
    assert settled("networks.lora", "use_cp=no") == ("networks.lora", ("use_cp=no",))


def test_what_only_sd_scripts_module_knows_is_refused_where_lycoris_stands_in() -> None:
    with pytest.raises(RecipeError) as caught:
        settled("networks.loha", "exclude_patterns=[r'.*']", "network_reg_dims=a=1")

    assert "exclude_patterns, network_reg_dims in network_args: only networks.loha knows that" in str(caught.value)
    assert str(caught.value).startswith("a.yaml:2")
    assert settled("networks.loha", "verbose=True")[1] == ("algo=loha", "preset=attn-mlp")


@pytest.mark.parametrize(
    "key", ["use_tucker", "use_cp", "use_conv_cp", "disable_conv_cp", "decompose_both", "dora_wd", "wd_on_output"]
)
@pytest.mark.parametrize("text", ["True", "true", "1", "yes", "False", "false", "0", "no", "off"])
def test_a_switch_means_to_lycoris_what_it_says(key: str, text: str) -> None:
    """Once `decompose_both=False` and `use_tucker=0` switched on, and `disable_conv_cp=True` the opposite of itself."""
    name = "use_tucker" if key in {"use_cp", "use_conv_cp", "disable_conv_cp"} else key
    wanted = (text in {"True", "true", "1", "yes"}) is not (key == "disable_conv_cp")

    _, written = settled("lycoris.kohya", "algo=lokr", f"{key}={text}")

    assert isinstance(written, tuple)
    assert lycoris_takes(dict(str(part).split("=", 1) for part in written))[name] is wanted


def test_two_names_of_one_switch_are_written_once() -> None:
    for first, second in itertools.permutations(("use_cp=True", "disable_conv_cp=False")):
        assert settled("lycoris.kohya", first, second)[1] == ("use_tucker=True",)


def test_settling_twice_changes_nothing_more() -> None:
    once = lycoris.resolve(recipe("networks.lokr", "conv_dim=4", "use_cp=1"), NONE)

    assert lycoris.resolve(once, NONE) == once
    assert str(once.origin("network_args")) == "a.yaml:2"


def test_the_algorithm_is_told_by_module_and_argument() -> None:
    assert lycoris.algorithm(recipe("networks.loha")) == "loha"
    assert lycoris.algorithm(recipe("lycoris.kohya", "algo=LoKr")) == "lokr"
    assert lycoris.algorithm(recipe("lycoris.kohya", "algo=")) == "lora"
    assert lycoris.algorithm(recipe("networks.lora", "algo=loha")) == ""
