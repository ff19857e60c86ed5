# ruff: noqa: E501, ISC004, Q003 - scripts and settings stand as people write them
"""A command that names its settings files: they are read where they lie beside it, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Cli
from foreign_files import TABLE, entry, options

from sdxl_train_cli.errors import RecipeError
from sdxl_train_cli.importers import format_detection, preset_building
from sdxl_train_cli.importers.preset_building import ImportedPreset

CONFIG = 'network_module = "networks.lora"\nnetwork_dim = 64\nlearning_rate = 1e-4\nxformers = true\nconfig_file = "run.toml"\n'


def built(folder: Path, name: str, text: str) -> ImportedPreset:
    (folder / name).write_text(text, encoding="utf-8")
    return preset_building.build(format_detection.read(folder / name, name), TABLE, name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.sh", 'accelerate launch "D:/kohya/sdxl_train_network.py" --config_file "./conf/run.toml" --seed=7'),
        ("a.bat", "@echo off\nset C=%~dp0conf\\run.toml\npython sdxl_train_network.py ^\n --config_file=\"%C%\" --seed 7"),
        ("a.ps1", '$c = Join-Path $PSScriptRoot "conf\\run"\npython sdxl_train_network.py --config_file $c --seed=7'),
        ("a.py", 'import subprocess\nsubprocess.run(["python", "sdxl_train_network.py", "--config_file", "/home/x/conf/run.toml",'
                 ' "--seed", "7"])'),
    ],
)  # fmt: skip
def test_the_settings_beside_a_command_are_read_and_its_own_options_count_on_top(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "run.toml").write_text(CONFIG + "seed = 1\n", encoding="utf-8")

    found = built(tmp_path, name, text)

    given = options(found)
    assert (given["network_dim"], given["learning_rate"], given["seed"], given["sdpa"]) == (64, 1e-4, 7, True)
    assert found.format == "command line with run.toml"


def test_options_are_judged_after_both_are_together(tmp_path: Path) -> None:
    """The optimizer stood in one file and its arguments in the other: AdamW has no decouple."""
    (tmp_path / "c.toml").write_text(CONFIG.replace("1e-4", "1") + 'optimizer_type = "Prodigy"\n', encoding="utf-8")

    found = built(tmp_path, "a.sh", "python sdxl_train_network.py --config_file=c --optimizer_args decouple=True")

    assert (options(found)["optimizer_type"], options(found)["optimizer_args"]) == ("Prodigy", ("decouple=True",))


def test_a_dataset_config_beside_a_command_gives_its_size_and_batch(tmp_path: Path) -> None:
    (tmp_path / "data.toml").write_text(
        "[general]\nenable_bucket = true\n[[datasets]]\nresolution = 896\nbatch_size = 3\n[[datasets.subsets]]\n"
        'image_dir = "x"\nnum_repeats = 4\nkeep_tokens = 2\n', encoding="utf-8"
    )  # fmt: skip
    found = built(tmp_path, "a.sh", "python sdxl_train_network.py --network_dim=8 --dataset_config=data.toml")

    given = options(found)
    assert (given["resolution"], given["train_batch_size"], given["keep_tokens"]) == (896, 3, 2)
    assert "--data" in entry(found, "--dataset_config").note


def test_prompts_beside_a_command_are_named_for_the_run(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a cat", encoding="utf-8")

    found = built(tmp_path, "a.sh", "python sdxl_train_network.py --network_dim=8 --sample_prompts=/x/p.txt")

    assert f"--set sample_prompts={tmp_path / 'p.txt'}" in entry(found, "--sample_prompts").note


@pytest.mark.parametrize(
    ("named", "words"),
    [("/etc/hostname.toml", "not beside"), ("../out.toml", "not beside"), ("link.toml", "a link to another folder"),
     ("big.toml", "larger"), ("list.toml", "not TOML"), ("folder", "not beside"), ("bad\\0.toml", "not beside")],
)  # fmt: skip
def test_nothing_is_read_elsewhere_and_what_is_missing_is_told_with_what_to_import(
    tmp_path: Path, named: str, words: str
) -> None:
    (tmp_path / "out.toml").write_text(CONFIG, encoding="utf-8")
    folder = tmp_path / "in"
    (folder / "folder.toml").mkdir(parents=True)
    (folder / "link.toml").symlink_to(tmp_path / "out.toml")
    (folder / "big.toml").write_text("#" * 2_000_000, encoding="utf-8")
    (folder / "list.toml").write_text("a = [", encoding="utf-8")

    with pytest.raises(RecipeError, match=words) as raised:
        built(folder, "a.sh", f"python sdxl_train_network.py --config_file='{named}'")

    assert "sets nothing itself" in str(raised.value)
    assert not any("out.toml" in str(one.hint) for one in raised.value.problems if named != "../out.toml")


def test_a_missing_settings_file_is_a_warning_where_the_command_has_options(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.sh").write_text(
        "python sdxl_train_network.py --config_file=c.toml --network_dim=8", encoding="utf-8"
    )

    result = cli("presets", "import", tmp_path / "a.sh")

    assert result.code == 0
    assert "warning" in result.stderr
    assert "sdxl-train presets import c.toml" in result.stderr
