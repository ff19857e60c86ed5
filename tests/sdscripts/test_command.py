"""A recipe becomes the one command line that means exactly its values."""

from __future__ import annotations

import argparse
import contextlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sdxl_train_cli.recipe import Kind, Recipe, Setting, Value
from sdxl_train_cli.sdscripts import command, options, shipped
from sdxl_train_cli.sdscripts.command import InstalledTrainer, Resumption, TrainerInputs
from sdxl_train_cli.sdscripts.options import Option
from sdxl_train_cli.sdscripts.processes import Processes

TABLE = shipped.table()
INPUTS = TrainerInputs(
    model="/models/base.safetensors",
    vae=None,
    dataset_config=Path("/out/cat/dataset.json"),
    output_dir=Path("/out/cat"),
    output_name="cat",
    logging_dir=Path("/out/cat/logs"),
    tokenizers=Path("/home/tokenizers"),
)
TRAINER = InstalledTrainer(Path("/venv/bin/python"), Path("/sd-scripts/sdxl_train_network.py"), TABLE.of(Kind.LORA))
OURS = {"pretrained_model_name_or_path", "vae", "tokenizer_cache_dir", "dataset_config", "output_dir", "output_name",
        "logging_dir", "console_log_simple"}  # fmt: skip


def recipe(settings: dict[str, Value]) -> Recipe:
    given = {name: Setting(value=value, origin="--set") for name, value in settings.items()}
    return Recipe(kind=Kind.LORA, name="mine", description="", settings=given)


def build(settings: dict[str, Value], inputs: TrainerInputs = INPUTS, trainer: InstalledTrainer = TRAINER) -> list[str]:
    return command.build(recipe(settings), inputs, trainer, Processes(gpus=(0,)))


def chosen(settings: dict[str, Value]) -> list[str]:
    """What the recipe adds to the command line of an empty one."""
    bare = build({})
    whole = build(settings)
    assert whole[: len(bare)] == bare
    return whole[len(bare) :]


def test_the_launch_asks_no_file_of_the_users() -> None:
    argv = build({"mixed_precision": "bf16"})

    assert argv[:9] == [
        "/venv/bin/python",
        "-m",
        "accelerate.commands.launch",
        "--num_processes=1",
        "--num_machines=1",
        "--mixed_precision=bf16",
        "--dynamo_backend=no",
        "--num_cpu_threads_per_process=2",
        "--gpu_ids=0",
    ]
    assert argv[9] == "/sd-scripts/sdxl_train_network.py"
    assert argv[-2:] == ["--mixed_precision", "bf16"]


def test_without_a_precision_the_launch_says_no_as_sd_scripts_does() -> None:
    assert "--mixed_precision=no" in build({})


def test_on_the_processor_no_gpu_is_named() -> None:
    argv = command.build(recipe({}), INPUTS, TRAINER, Processes())

    assert "--cpu" in argv
    assert not any(word.startswith("--gpu_ids") for word in argv)
    assert "--gpu_ids=3" in command.build(recipe({}), INPUTS, TRAINER, Processes(gpus=(3,)))


def test_a_shim_stands_before_the_script() -> None:
    argv = build({}, trainer=replace(TRAINER, shim=Path("/ours/scaled.py")))

    assert argv[9:11] == ["/ours/scaled.py", "/sd-scripts/sdxl_train_network.py"]


def test_a_fast_run_is_started_through_the_script_that_makes_it_fast() -> None:
    fast = replace(TRAINER, fast=Path("/ours/fast.py"))

    assert build({}, trainer=fast)[9:12] == ["/ours/fast.py", "default", "/sd-scripts/sdxl_train_network.py"]
    both = build({}, trainer=replace(fast, shim=Path("/ours/scaled.py")))
    assert both[9:13] == ["/ours/fast.py", "default", "/ours/scaled.py", "/sd-scripts/sdxl_train_network.py"]


def test_a_fast_run_that_is_resumed_stays_fast() -> None:
    resumption = Resumption(Path("run/state"), 6, shim=Path("/ours/resumed.py"))

    argv = gone_on({}, resumption, replace(TRAINER, fast=Path("/ours/fast.py")))

    assert argv[9:15] == ["/ours/resumed.py", "--from", "6", "/ours/fast.py", "default", str(TRAINER.script)]


def test_what_an_older_sd_scripts_lacks_is_left_out() -> None:
    older = {name: option for name, option in TRAINER.options.items() if name != "console_log_simple"}

    assert "--console_log_simple" in build({})
    assert "--console_log_simple" not in build({}, trainer=replace(TRAINER, options=older))


def test_a_vae_is_given_only_where_there_is_one() -> None:
    assert "--vae" not in build({})
    argv = build({}, replace(INPUTS, vae="/models/vae.safetensors"))
    assert argv[argv.index("--vae") + 1] == "/models/vae.safetensors"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("sdpa", True, ["--sdpa"]),
        ("sdpa", False, []),
        ("max_grad_norm", 0, ["--max_grad_norm", "0"]),
        ("max_grad_norm", 0.0, ["--max_grad_norm", "0.0"]),
        ("learning_rate", 1e-4, ["--learning_rate", "0.0001"]),
        ("learning_rate", 5e-324, ["--learning_rate", "5e-324"]),
        ("learning_rate", 1e22, ["--learning_rate", "1e+22"]),
        ("log_prefix", "-dash", ["--log_prefix=-dash"]),
        ("log_prefix", "--v2", ["--log_prefix=--v2"]),
        ("log_prefix", "", ["--log_prefix", ""]),
        ("log_prefix", "a b 'c' \"d\" $e\n", ["--log_prefix", "a b 'c' \"d\" $e\n"]),
        ("noise_offset", -0.1, ["--noise_offset=-0.1"]),
        ("network_args", ("conv_dim=32", "conv_alpha=16"), ["--network_args", "conv_dim=32", "conv_alpha=16"]),
        ("network_args", (), ["--network_args"]),
        ("base_weights_multiplier", (-0.5, 1), ["--base_weights_multiplier", "-0.5", "1"]),
    ],
)
def test_a_value_is_words_of_its_own(name: str, value: Value, words: list[str]) -> None:
    assert chosen({name: value}) == words


def test_the_order_in_which_options_were_set_does_not_matter() -> None:
    assert build({"seed": 1, "network_dim": 2}) == build({"network_dim": 2, "seed": 1})


def argparse_of(known: dict[str, Option]) -> argparse.ArgumentParser:
    """A parser as sd-scripts has one, of the same table."""
    parser = argparse.ArgumentParser()
    types = {"int": int, "float": float, "str": str}
    for option in known.values():
        if option.type == "switch":
            parser.add_argument(option.flag, action="store_true")
        else:
            parser.add_argument(
                option.flag, type=types[option.type], nargs="*" if option.many else None, choices=option.choices
            )
    return parser


PARSER = argparse_of(TABLE.of(Kind.LORA))


def values_of(option: Option) -> st.SearchStrategy[Value]:
    if option.choices is not None:
        return st.sampled_from([choice for choice in option.choices if choice is not None])
    text = st.text(st.characters(exclude_characters="\0", codec="utf-8"))
    strategies: dict[str, st.SearchStrategy[Any]] = {
        "switch": st.booleans(),
        "int": st.integers(),
        "float": st.floats(allow_nan=False, allow_infinity=False),
        "str": text | st.sampled_from(["-", "--", "--v2", "-1", "-1e-5", "@file", "a=b", " "]),
    }
    one = strategies[option.type]
    return st.lists(one, max_size=3).map(tuple) if option.many else one


OPTIONS = {name: option for name, option in TABLE.of(Kind.LORA).items() if name not in OURS}


@given(st.fixed_dictionaries({}, optional={name: values_of(option) for name, option in OPTIONS.items()}))
@example({"network_args": ("[", "-:")})
def test_argparse_reads_exactly_the_values_of_the_recipe(settings: dict[str, Value]) -> None:
    unsound = {problem.message.partition(":")[0] for problem in options.problems(recipe(settings), TABLE)}
    sound = recipe({name: value for name, value in settings.items() if name not in unsound})
    settings = {name: setting.value for name, setting in options.convert(sound, TABLE).settings.items()}
    argv = build(settings)
    script = argv.index(str(TRAINER.script))

    complaint = io.StringIO()
    with contextlib.redirect_stderr(complaint):
        try:
            read = vars(PARSER.parse_args(argv[script + 1 :]))
        except SystemExit:
            pytest.fail(complaint.getvalue())

    for name, option in OPTIONS.items():
        got = tuple(read[name]) if isinstance(read[name], list) else read[name]
        assert repr(got) == repr(settings.get(name, False if option.type == "switch" else None))
    assert read["output_dir"] == "/out/cat"
    assert read["console_log_simple"] is True


def gone_on(settings: dict[str, Value], resumption: Resumption, trainer: InstalledTrainer = TRAINER) -> list[str]:
    return command.build(recipe(settings), INPUTS, trainer, Processes(gpus=(0,)), resumption)


def test_a_run_that_goes_on_is_the_same_run_from_its_state_on() -> None:
    settings: dict[str, Value] = {"seed": 42, "max_train_steps": 12, "sdpa": True}
    before: dict[str, Value] = {"resume": "before", "initial_step": 3, "skip_until_initial_step": True}
    resumption = Resumption(Path("run/state"), 6, shim=Path("resumed.py"))

    argv = gone_on({**settings, **before}, resumption, replace(TRAINER, shim=Path("scaled.py")))
    first = build(settings)

    at = first.index(str(TRAINER.script))
    assert argv == [
        *first[:at], "resumed.py", "--from", "6", "scaled.py", *first[at:],
        "--resume", "run/state", "--initial_step", "6", "--skip_until_initial_step",
    ]  # fmt: skip


def test_a_run_that_is_made_longer_gets_its_new_length_in_place_of_the_old() -> None:
    argv = gone_on({"max_train_epochs": 2, "max_train_steps": 12}, Resumption(Path("s"), 12, steps=20))

    assert argv.count("--max_train_steps") == 1
    assert argv[argv.index("--max_train_steps") + 1] == "20"
    assert "--max_train_epochs" not in argv
