"""`sdxl-train presets new` as a person and as a script meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Cli, variables

from sdxl_train_cli.sdscripts import shipped

FLAGS = ("--what", "style", "--gpu-memory", "12", "--pictures", "40", "--for", "quality")


@pytest.fixture
def bare(tmp_path: Path) -> Cli:
    """`sdxl-train` with an empty home and an empty config folder."""
    return Cli(tmp_path, variables(tmp_path))


def test_with_all_flags_nothing_is_asked_and_the_preset_can_be_used(cli: Cli, tmp_path: Path) -> None:
    made = cli("presets", "new", "мой стиль", *FLAGS)

    assert made.code == 0, made.stderr
    assert made.path == tmp_path / "config" / "presets" / "locon" / "мой стиль.yaml"
    assert "sdxl-train locon --preset 'мой стиль' --data YOUR-PICTURES" in made.stderr
    assert cli("presets", "check", made.path).code == 0
    assert "мой стиль" in cli("presets", "list").stdout


def test_a_script_is_told_the_flags_that_are_missing(bare: Cli) -> None:
    result = bare("presets", "new", "--what", "style")

    assert result.code == 2
    assert result.stderr.startswith("error: not answered: --gpu-memory, --pictures, --for, NAME\n")
    assert result.stdout == ""


def test_a_preset_is_not_written_over_by_chance(bare: Cli, tmp_path: Path) -> None:
    first = bare("presets", "new", "mine", *FLAGS, "--to", tmp_path / "a b")
    text = first.path.read_text(encoding="utf-8")
    second = bare("presets", "new", "mine", *FLAGS, "--to", tmp_path / "a b", "--pictures", "9")

    assert (first.code, second.code) == (0, 2)
    assert "already exists" in second.stderr
    assert first.path.read_text(encoding="utf-8") == text
    assert bare("presets", "new", "mine", *FLAGS, "--to", tmp_path / "a b", "--pictures", "9", "--force").code == 0
    assert first.path.read_text(encoding="utf-8") != text


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (("../mine", *FLAGS), 2, "is not a valid preset name"),
        (("_mine", *FLAGS), 2, "is not a valid preset name"),
        (("", *FLAGS), 2, "is not a valid preset name"),
        (("mine", *FLAGS, "--what", "cats"), 2, "no --what 'cats'"),
        (("mine", *FLAGS, "--for", "fun"), 2, "no --for 'fun'"),
        (("mine", *FLAGS, "--kind", "dora"), 2, "no kind 'dora'"),
        (("mine", *FLAGS, "--gpu-memory", "nan"), 2, "GB"),
        (("mine", *FLAGS, "--gpu-memory", "2"), 6, "no LoCon fits"),
        (("mine", *FLAGS, "--kind", "dreambooth", "--gpu-memory", "4"), 6, "no Dreambooth fits"),
        (("mine", *FLAGS, "--to", "file"), 2, "can't be written: Not a directory"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    bare: Cli, tmp_path: Path, words: tuple[str, ...], code: int, part: str
) -> None:
    (tmp_path / "file").touch()

    result = bare("presets", "new", *words)

    assert result.code == code, result.stderr
    assert part in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal of POSIX")
def test_at_a_terminal_five_questions_are_asked_and_a_wrong_answer_asked_again(tmp_path: Path) -> None:
    import pty  # noqa: PLC0415 - not on Windows

    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "sdxl_train_cli.cli", "presets", "new"]
    environ = {**variables(tmp_path), "TERM": "dumb"}
    with subprocess.Popen(
        argv, cwd=tmp_path, env=environ, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        os.write(ours, b"cats\nstyle\nlarge\n12\n\n40\nq\nmine\n")
        _, told = child.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)

    assert child.returncode == 0, told.decode()
    assert told.count(b"What do you train?") == 2
    assert told.count(b"How many GB does the card have?") == 2
    assert (tmp_path / "config" / "presets" / "locon" / "mine.yaml").is_file()


def test_two_presets_are_compared_in_a_table_and_as_json(cli: Cli) -> None:
    shown = cli("presets", "diff", "dim32", "dim32-gc")
    facts = json.loads(cli("presets", "diff", "dim32", "dim32-gc", "--json").stdout)

    assert shown.stdout.splitlines()[0].split() == ["option", "dim32", "dim32-gc"]
    assert shown.stdout.splitlines()[1].split() == ["gradient_checkpointing", "false", "(default)", "true"]
    assert facts == [
        {
            "option": "gradient_checkpointing",
            "a": {"value": False, "from": "sd-scripts' default"},
            "b": {"value": True, "from": "dim32-gc.yaml:4"},
        }
    ]


def test_presets_that_do_the_same_are_told_to(cli: Cli) -> None:
    result = cli("presets", "diff", "dim32", "dim32")

    assert (result.code, result.stdout) == (0, "")
    assert "no options differ in effect" in result.stderr


def test_presets_are_compared_before_anything_is_set_up(bare: Cli) -> None:
    result = bare("presets", "diff", "dim32-gc", "factor8-gc")

    assert result.code == 0
    assert "dim32-gc trains a LoRA, factor8-gc a LoKr" in result.stderr
    assert any(line.split()[:2] == ["network_args", "-"] for line in result.stdout.splitlines())
    assert f"defaults are those of sd-scripts {shipped.PINNED_RELEASE}\n" in result.stderr
    (_, row) = bare("presets", "diff", "dim32", "dim32-gc").stdout.splitlines()
    assert row.split() == ["gradient_checkpointing", "false", "(default)", "true"]


def test_the_schema_goes_into_a_file_with_the_line_for_the_editor(cli: Cli, tmp_path: Path) -> None:
    result = cli("presets", "schema", "--kind", "lokr", "--output", "моя schema.json")

    assert result.code == 0, result.stderr
    assert f"# yaml-language-server: $schema={(tmp_path / 'моя schema.json').as_uri()}" in result.stderr
    assert json.loads((tmp_path / "моя schema.json").read_text(encoding="utf-8"))["title"] == "sdxl-train LoKr preset"
    assert json.loads(cli("presets", "schema").stdout)["title"] == "sdxl-train preset"


def test_without_sd_scripts_the_schema_is_made_of_the_pinned_releases_options(bare: Cli) -> None:
    result = bare("presets", "schema")

    assert result.code == 0
    assert f"built from the options of sd-scripts {shipped.PINNED_RELEASE}" in result.stderr
    steps = json.loads(result.stdout)["properties"]["max_train_steps"]
    assert (steps["description"], steps["default"]) == ("(default: 1600)", 1600)
