# ruff: noqa: E501, ISC004 - notebooks and scripts stand as people write them
"""Notebooks that build a settings file in many cells, and scripts that choose their trainer by a variable."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from foreign_files import FOLDER, TABLE, entry, of_text, options, require_sound

from sdxl_train_cli.errors import RecipeError
from sdxl_train_cli.importers import format_detection, preset_building
from sdxl_train_cli.importers.foreign_settings import KeyFate

CELLS = (
    'import toml\nnetwork_args = ""  # @param {"type":"string"}\ncategory = "LoHa"\n'
    "if isinstance(network_args, str):\n    network_args = network_args.strip()\n"
    "    if network_args.startswith('['):\n        network_args = ast.literal_eval(network_args)\n    else:\n        network_args = []\n"
    'kinds = {"LoRA": {"module": "networks.lora", "args": []}, "LoHa": {"module": "lycoris.kohya", "args": ["algo=loha", f"conv_dim={2 * 2}", "conv_alpha=1"]}}\n'
    'network_args.extend(kinds[category]["args"])\n'
    'lora = {"additional_network_arguments": {"network_module": kinds[category]["module"], "network_dim": 8, "network_alpha": 4, "network_args": network_args}}',
    'arguments = "[\\"relative_step=False\\", \\"scale_parameter=False\\"]"\n'
    "if arguments.startswith('[') and arguments.endswith(']'):\n    try:\n        arguments = ast.literal_eval(arguments)\n    except ValueError:\n        arguments = []\nelse:\n    arguments = []\n"
    'optimizer = {"optimizer_arguments": {"optimizer_type": "Adafactor", "learning_rate": 1e-4, "optimizer_args": arguments, "lr_scheduler": "constant"}}',
    'train = {"training_arguments": {"max_train_epochs": 10, "mixed_precision": "bf16", "vae": vae_path, "seed": 5 if chosen else 5}}\n'
    'prompt = {"prompt": {"width": 1024}}',
    'final = "accelerate launch %s %s" % (os.path.join(home, "sdxl_train_network.py"), arguments_of(conf))\n!{final}',
)


def notebook(*cells: str) -> str:
    """A notebook of these cells."""
    return json.dumps({"nbformat": 4, "cells": [{"cell_type": "code", "source": [cell]} for cell in cells]})


def test_the_tables_of_all_cells_are_one_settings_file() -> None:
    found = of_text(notebook(*CELLS))

    wanted = {"network_module": "lycoris.kohya", "network_dim": 8, "optimizer_type": "Adafactor", "max_train_epochs": 10,
              "learning_rate": 1e-4, "mixed_precision": "bf16"}  # fmt: skip
    assert {option: options(found).get(option) for option in wanted} == wanted
    assert "algo=loha" in str(options(found)["network_args"])
    assert "relative_step=False" in str(options(found)["optimizer_args"])
    require_sound(found)


def test_a_notebooks_dataset_table_is_not_taken_for_its_settings() -> None:
    text = notebook(
        'd = "/content"\nfile = os.path.join(d, name, "training.toml")\n'
        'def config():\n    a = {"network_arguments": {"network_module": "networks.lora", "network_dim": 16}, "optimizer_arguments": {"learning_rate": 2e-4, "optimizer_type": "AdamW"}}\n'
        "    for key in a:\n        a[key] = {k: v for k, v in a[key].items() if v}\n"
        '    data = {"general": {"resolution": 768, "enable_bucket": True}, "datasets": [{"subsets": [{"image_dir": "x"}]}]}\n'
        "!accelerate launch sdxl_train_network.py --dataset_config={file} --config_file={file}"
    )

    found = of_text(text)

    assert {o: options(found)[o] for o in ("network_dim", "learning_rate", "optimizer_type")} == {
        "network_dim": 16, "learning_rate": 2e-4, "optimizer_type": "AdamW",
    }  # fmt: skip


def test_a_settings_file_in_a_folder_that_is_not_known_is_found_beside(tmp_path: Path) -> None:
    (tmp_path / "conf.toml").write_text('network_module = "networks.lora"\nnetwork_dim = 24\nlearning_rate = 1e-4\n')
    script = tmp_path / "run.py"
    script.write_text(
        'import os, subprocess\ncfg = os.path.join(os.path.dirname(__file__), "conf.toml")\n'
        'subprocess.run(["accelerate", "launch", "sdxl_train_network.py", "--config_file", cfg, "--seed", "7"])\n'
    )

    found = preset_building.build(format_detection.read(script, "run.py"), TABLE, "run.py")

    assert (options(found)["network_dim"], options(found)["seed"]) == (24, 7)


def test_a_settings_file_that_only_the_program_can_name_is_told_as_such() -> None:
    text = (
        'import x\ncmd = ["accelerate", "launch", "sdxl_train_network.py", "--config_file", x.made(), "--seed", "7"]\n'
    )
    found = format_detection.named_settings.followed(format_detection.read_text(text, "a.py"), FOLDER, "a.py")

    (warning,) = found.warnings
    assert "only known when it runs" in warning.message
    assert ".toml" not in f"{warning.message} {warning.hint}"


def test_the_launchers_own_config_is_not_looked_for(tmp_path: Path) -> None:
    script = tmp_path / "a.sh"
    script.write_text(
        "accelerate launch --config_file accelerate.yaml sdxl_train_network.py --network_module=networks.lora"
        " --network_dim=8 --learning_rate=1e-4\n"
    )

    found = format_detection.read(script, "a.sh")

    assert found.warnings == ()
    assert next(e for e in found.entries if e.key == "accelerate --config_file").what is KeyFate.IGNORED


CHOICE_SH = (
    'config="./config/default.toml"   # config file | comment\nsdxl={sdxl}   # train SDXL\n'
    'if [[ $sdxl == 1 ]]; then\n  script="sdxl_train_network.py"\nelse\n  script="train_network.py"\nfi\n'
    'python -m accelerate.commands.launch "./scripts/$script" --network_module networks.lora --network_dim=8 --learning_rate=1e-4\n'
)
CHOICE_PS1 = (
    '$model_type = "{model}" # sd1.5 sdxl "flux"\n$lr_scheduler = "linear" # "linear", "cosine"\n$optimizer_type = "AdamW8bit"\n'
    '$ext = [System.Collections.ArrayList]::new()\n$trainer = "./train_network.py"\n'
    'if ($model_type -eq "sd1.5") {{\n  [void]$ext.Add("--clip_skip=2")\n}}\nelseif ($model_type -eq "sd2.0") {{\n  [void]$ext.Add("--v2")\n}}\n'
    'elseif ($model_type -eq "sdxl") {{\n  $trainer = "./sdxl_train_network.py"\n}}\nelseif ($model_type -eq "flux") {{\n  $trainer = "./flux_train_network.py"\n}}\n'
    'if ($optimizer_type) {{\n  [void]$ext.Add("--optimizer_type=" + $optimizer_type)\n}}\n'
    "python -m accelerate.commands.launch $trainer --network_module=networks.lora --network_dim=8 --learning_rate=1e-4 `\n  --lr_scheduler=$lr_scheduler $ext\n"
)


@pytest.mark.parametrize(
    ("text", "line"),
    [(CHOICE_SH.format(sdxl=0), 3), (CHOICE_PS1.format(model="sd1.5"), 12), (CHOICE_PS1.format(model="sd2.0"), 12)],
)
def test_a_script_that_is_set_to_another_model_names_the_line_that_chooses(text: str, line: int) -> None:
    with pytest.raises(RecipeError) as caught:
        of_text(text)

    (problem,) = caught.value.problems
    assert problem.message == "calls train_network.py as it stands, which does not train SDXL"
    assert f"line {line} chooses SDXL's script" in str(problem.hint)


def test_a_script_that_is_set_to_sdxl_is_read_with_all_that_it_adds() -> None:
    shell, power = of_text(CHOICE_SH.format(sdxl=1)), of_text(CHOICE_PS1.format(model="sdxl"))

    assert options(shell)["network_dim"] == 8
    assert {o: options(power).get(o) for o in ("optimizer_type", "lr_scheduler", "network_dim")} == {
        "optimizer_type": "AdamW8bit", "lr_scheduler": "linear", "network_dim": 8,
    }  # fmt: skip
    assert not any("clip_skip" in e.key or "v2" in e.key for e in power.entries)


def test_members_of_a_powershell_table_are_filled_in() -> None:
    found = of_text(
        '$cfg = @{ lr = "3e-4"; alpha = 8 }\n$more = @("--network_alpha=$($cfg.alpha)")\n$more += "--learning_rate=$($cfg.lr)"\n'
        "accelerate launch ./sdxl_train_network.py --network_module=networks.lora --network_dim=16 @more --logging_dir $root.logs\n"
    )

    assert (options(found)["network_alpha"], options(found)["learning_rate"]) == (8, 3e-4)


@pytest.mark.parametrize(
    ("text", "kind", "wanted"),
    [
        ("--learning_rate 1e-4 --network_dim 24\n--network_module networks.lora \\\n  --seed 3\n", "LoRA",
         {"network_dim": 24, "seed": 3}),
        ("--train_text_encoder\n--learning_rate=1e-5\n--optimizer_type=Adafactor\n", "Dreambooth",
         {"train_text_encoder": True, "optimizer_type": "Adafactor"}),
    ],
)  # fmt: skip
def test_an_excerpt_of_a_command_line_is_read_without_its_call(text: str, kind: str, wanted: dict[str, object]) -> None:
    found = of_text(text)

    assert found.kind.label == kind
    assert {option: options(found).get(option) for option in wanted} == wanted


def test_a_rate_that_destroys_the_model_is_told_with_its_line_and_the_rest_is_kept() -> None:
    found = of_text(
        "accelerate launch sdxl_train.py --learning_rate_te1=1e-5 --learning_rate_te2=1e-5 \\\n  --learning_rate=1.0 --train_text_encoder"
        " --optimizer_type=Adafactor --optimizer_args scale_parameter=False relative_step=False warmup_init=False --max_train_steps=700"
    )

    (warning,) = found.warnings
    assert str(warning.where) == "some:2"
    assert "learning_rate 1.0: 1e-05 is taken in its place" in warning.message
    assert entry(found, "--learning_rate").what is KeyFate.COMPUTED
    assert {o: options(found).get(o) for o in ("learning_rate", "learning_rate_te1", "max_train_steps")} == {
        "learning_rate": 1e-5, "learning_rate_te1": 1e-5, "max_train_steps": 700,
    }  # fmt: skip
    require_sound(found)


def test_the_tables_for_drawing_and_for_other_models_are_not_the_settings() -> None:
    train = 'a = {"sdxl_arguments": {"no_half_vae": True}, "optimizer_arguments": {"optimizer_type": "AdamW", "learning_rate": 1e-4}, "additional_network_arguments": {"network_module": "networks.lora", "network_dim": 12}}'
    draw = 'b = {"network_weights": "x", "network_mul": 1, "resolution": 1024, "output_name": "x"}'

    found = of_text(notebook(train, draw, "!python sdxl_train_network.py {args}"))

    assert options(found)["network_dim"] == 12
    with pytest.raises(RecipeError, match=r"calls train_network_wrapper\.py, which does not train SDXL"):
        of_text(notebook(train, "!accelerate launch train_network_wrapper.py --config_file={f}"))
    assert options(of_text(notebook(train, "!accelerate launch train_network_xl_wrapper.py {f}")))["network_dim"] == 12


def test_a_value_that_only_the_notebook_knows_is_told_and_not_taken_for_a_name() -> None:
    found = of_text(notebook(
        "name = chosen()\n"
        'a = {"optimizer_arguments": {"optimizer_type": name, "learning_rate": 1e-4, "unet_lr": 1e-4, "network_module": "networks.lora", "network_dim": 8}}\n',
        "!python sdxl_train_network.py {args}",
    ))  # fmt: skip

    assert entry(found, "optimizer_type").what is KeyFate.UNKNOWN
    assert options(found)["network_dim"] == 8


def test_members_of_a_list_are_parted_at_their_blanks() -> None:
    found = of_text(
        'more=()\nmore+=("--optimizer_type Lion" "--training_comment=my cat")\n'
        "python sdxl_train_network.py --network_module=networks.lora --network_dim=8 --learning_rate=1e-4 ${more[@]}\n"
    )

    assert options(found)["optimizer_type"] == "Lion"
    assert "my cat" in entry(found, "--training_comment").shown
