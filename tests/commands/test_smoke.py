"""`sdxl-train smoke` with the stand-in: the whole straight line, with a trainer that trains nothing."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import Cli, variables

from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.run.smoke import U_NET_MODULES
from sdxl_train_cli.sdscripts import checkpoint


def test_all_kinds_are_delivered_and_what_was_not_trained_is_told(cli: Cli, tmp_path: Path) -> None:
    result = cli("smoke", "--kind", "all")

    assert result.code == 0, result.stderr
    assert result.stderr.count("NOTHING WILL BE TRAINED") == len(Kind)
    kept = [Path(line) for line in result.stdout.splitlines()]
    names = [f"smoke-{kind.value}.safetensors" for kind in Kind]
    assert kept == [tmp_path / "smoke-output" / name for name in names]
    assert all(checkpoint.read_header(path).shapes for path in kept)
    for modules in U_NET_MODULES.values():
        assert f"{modules} U-Net modules" in result.stderr


def test_only_the_trained_file_is_left(cli: Cli, tmp_path: Path) -> None:
    assert cli("smoke", "--output", "out").code == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["smoke-lora.safetensors"]
    assert not list((tmp_path / "tmp").glob("sdxl-train-smoke-*"))


def test_keep_keeps_the_material_and_the_run_also_a_second_time(cli: Cli, tmp_path: Path) -> None:
    first, second = (cli("smoke", "--keep", "--output", "out", "--steps", "2") for _ in range(2))

    assert first.path == tmp_path / "out" / "smoke-lora" / "smoke-lora.safetensors"
    assert second.path == tmp_path / "out" / "smoke-lora-2" / "smoke-lora-2.safetensors"
    assert (tmp_path / "out" / "material" / "model.safetensors").is_file()
    record = json.loads((first.path.parent / "run.json").read_text(encoding="utf-8"))
    assert record["settings"]["max_train_steps"]["value"] == 2


def test_a_failing_trainer_fails_the_smoke(cli: Cli, tmp_path: Path) -> None:
    result = cli("smoke", STANDIN_FAIL="crash@2")

    assert result.code == 7
    assert "training failed at step 2 of 4" in result.stderr
    assert result.stdout == ""
    assert not list((tmp_path / "tmp").glob("sdxl-train-smoke-*"))


def test_an_output_that_cannot_be_made_is_told_before_anything_is_trained(cli: Cli, tmp_path: Path) -> None:
    """Once, three runs were trained first, and then a traceback told it."""
    (tmp_path / "file").touch()

    result = cli("smoke", "--output", "file/out")

    assert result.code == 2
    assert "can't be made" in result.stderr
    assert "step 1" not in result.stderr


def test_without_setup_the_smoke_names_the_next_step(cli: Cli, tmp_path: Path) -> None:
    result = cli("smoke", "--home", tmp_path / "empty")

    assert result.code == 5
    assert "`sdxl-train setup`" in result.stderr


def test_a_misspelt_kind_is_told_before_setup_is_asked_for(tmp_path: Path) -> None:
    result = Cli(tmp_path, variables(tmp_path))("smoke", "--kind", "loar")

    assert result.code == 2
    assert "no kind 'loar'" in result.stderr
    assert "embedding, all" in result.stderr
