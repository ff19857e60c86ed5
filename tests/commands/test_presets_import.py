"""`sdxl-train presets import` and `export` as real commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import Cli, write_safetensors
from foreign_files import FOLDER

from sdxl_train_cli.sdscripts import shipped


def test_an_import_prints_the_presets_path_and_tells_what_became_of_every_key(cli: Cli, tmp_path: Path) -> None:
    result = cli("presets", "import", FOLDER / "gui_lora.json")

    assert result.code == 0, result.stderr
    assert result.path == tmp_path / "config" / "presets" / "lora" / "gui_lora.yaml"
    text = result.path.read_text(encoding="utf-8")
    assert text.startswith("# Imported from gui_lora.json (kohya_ss GUI, LoRA tab)\nextends: ")
    assert "max_grad_norm: 0\n" in text
    for key in json.loads((FOLDER / "gui_lora.json").read_text(encoding="utf-8")):
        assert key in result.stderr
    assert "not understood: the GUI has no such key" in result.stderr
    assert cli("presets", "check", result.path).code == 0


def test_an_imported_preset_is_found_by_its_name_and_can_be_started(cli: Cli, model: Path, pictures: Path) -> None:
    imported = cli("presets", "import", FOLDER / "gui_lora.json", "--name", "моё (1)", "--report", "none")
    assert imported.code == 0, imported.stderr

    result = cli("lora", "--preset", "моё (1)", "--dry-run", "--model", model, "--data", pictures, "--no-vram-check")

    assert result.code == 0, result.stderr
    assert " --max_grad_norm 0 " in result.stdout


def test_the_report_as_json_has_every_key_and_every_option(cli: Cli, tmp_path: Path) -> None:
    result = cli("presets", "import", FOLDER / "easy.toml", "--to", tmp_path / "here", "--report", "json")

    (report,) = json.loads(result.stdout)
    assert report["preset"] == str(tmp_path / "here" / "easy.yaml")
    assert (report["kind"], report["options"]["max_grad_norm"]) == ("locon", 0)
    assert {"key", "value", "what", "option", "becomes", "note"} == report["keys"][0].keys()


def test_several_files_are_imported_and_all_that_is_wrong_is_told(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "pickle.ckpt").write_bytes(b"PK\x03\x04")
    (tmp_path / "not.json").write_text("{", encoding="utf-8")
    base = write_safetensors(tmp_path / "base.safetensors")

    result = cli("presets", "import", FOLDER / "gui_lokr.json", tmp_path / "pickle.ckpt", tmp_path / "not.json", base)

    assert result.code == 3
    assert len(result.stdout.splitlines()) == 1
    assert "is a pickle" in result.stderr
    assert "is not JSON" in result.stderr
    assert "holds no record of its training" in result.stderr
    assert "Traceback" not in result.stderr


def test_nothing_is_written_over_unless_it_is_asked_for(cli: Cli) -> None:
    path = cli("presets", "import", FOLDER / "onetrainer.json").path
    path.write_text("seed: 1\n", encoding="utf-8")

    second = cli("presets", "import", FOLDER / "onetrainer.json")
    assert (second.code, second.stdout) == (2, "")
    assert "already exists" in second.stderr
    assert path.read_text(encoding="utf-8") == "seed: 1\n"
    assert cli("presets", "import", FOLDER / "onetrainer.json", "--force").code == 0
    assert "extends: " in path.read_text(encoding="utf-8")


def test_two_files_of_one_name_are_not_written_over_each_other(cli: Cli, tmp_path: Path) -> None:
    shutil.copy(FOLDER / "gui_lora.json", tmp_path / "train.json")
    shutil.copy(FOLDER / "train.sh", tmp_path / "train.sh")

    result = cli("presets", "import", "--force", tmp_path / "train.json", tmp_path / "train.sh")

    assert (result.code, result.stdout) == (2, "")
    assert "named 'train'" in result.stderr


def test_another_kind_than_was_asked_for_is_refused(cli: Cli) -> None:
    result = cli("presets", "import", FOLDER / "gui_lokr.json", "--kind", "lora")

    assert result.code == 3
    assert "is for a LoKr, not a LoRA" in result.stderr
    assert cli("presets", "import", FOLDER / "gui_lokr.json", "--kind", "lycoris").code == 2


def test_a_name_that_is_none_is_refused(cli: Cli) -> None:
    assert cli("presets", "import", FOLDER / "gui_lora.json", "--name", "../").code == 2
    assert cli("presets", "import", FOLDER / "gui_lora.json", FOLDER / "gui_lokr.json", "--name", "a").code == 2


def test_a_folder_that_cannot_be_made_is_told(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    result = cli("presets", "import", FOLDER / "gui_lora.json", "--to", tmp_path / "file" / "inner")

    assert result.code == 2
    assert "can't be written" in result.stderr


def test_without_sd_scripts_the_pinned_release_says_what_is_taken(fresh: Cli, cli: Cli) -> None:
    result, installed = (run("presets", "import", FOLDER / "gui_finetune.json") for run in (fresh, cli))

    assert result.code == 0
    assert f"checked against the options of sd-scripts {shipped.PINNED_RELEASE}\n" in result.stderr
    assert shipped.PINNED_RELEASE not in installed.stderr


@pytest.mark.parametrize("target", ["toml", "kohya-gui", "command"])
def test_what_is_exported_is_imported_again(cli: Cli, tmp_path: Path, target: str) -> None:
    printed = cli("presets", "export", "dim32-gc", "--to", target)
    assert printed.code == 0, printed.stderr
    path = tmp_path / "обмен"
    assert cli("presets", "export", "dim32-gc", "--to", target, "--output", path).path == path
    assert path.read_text(encoding="utf-8").rstrip("\n") == printed.stdout.rstrip("\n")

    again = cli("presets", "import", path)

    assert again.code == 0, again.stderr
    text = again.path.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", "description"))]
    assert lines == ["extends: dim32-gc"]


def test_an_export_writes_nothing_over(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "there.toml").touch()

    result = cli("presets", "export", "gc", "--to", "toml", "--output", tmp_path / "there.toml")

    assert result.code == 2
    assert "already exists" in result.stderr


def test_a_preset_that_is_not_there_is_told(cli: Cli) -> None:
    assert cli("presets", "export", "nothing", "--to", "toml").code == 3
    assert cli("presets", "export", "dim32", "--to", "yaml").code == 2
