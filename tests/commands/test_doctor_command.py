"""`sdxl-train doctor`, with the stand-in for sd-scripts: what it prints, its exit code, and what --fix does."""

from __future__ import annotations

import json
import re
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Cli, Result, variables

from sdxl_train_cli.environment import doctor_table, environment
from sdxl_train_cli.layout import Home

Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - as shutil's own


@pytest.fixture
def own(tmp_path: Path, repository: Path) -> Cli:
    """The stand-in, in a home that the test may damage."""
    cli = Cli(tmp_path, variables(tmp_path))
    assert cli("setup", "--source", repository).code == 0
    return cli


def checkout(cli: Cli) -> Path:
    return environment.require(Home(cli.folder / "home")).checkout


def test_a_whole_installation_ends_with_0_and_a_line_for_each_check(own: Cli) -> None:
    told = own("doctor")

    assert told.code == 0
    assert "ok       sd-scripts' files against its commit" in told.stdout
    assert "left out torch: import, product, gradient: this sd-scripts brings its own accelerate" in told.stdout
    assert re.search(r"ok       free disk of the home: \d+\.\d GB", told.stdout)
    assert "0 errors, 2 warnings" in told.stderr  # the tokenizers


def test_damaged_files_end_with_5_and_fix_mends_them(own: Cli) -> None:
    folder = checkout(own)
    (folder / "sdxl_train.py").write_bytes(b"")
    (folder / "networks" / "lora.py").unlink()
    (folder.parent / "options.json").write_text("{", encoding="utf-8")

    told = own("doctor")
    mended = own("doctor", "--fix", "--json")

    assert told.code == 5
    assert "broken   sd-scripts' files against its commit: sdxl_train.py is empty" in told.stdout
    assert "missing  sd-scripts' files against its commit: networks/lora.py is missing" in told.stdout
    assert "hint: `sdxl-train doctor --fix`" in told.stdout
    assert mended.code == 0
    rows = json.loads(mended.stdout)
    assert {row["check"]: row["status"] for row in rows}.items() >= {"checkout": "ok", "record": "ok"}.items()
    assert environment.require(Home(own.folder / "home"))


@pytest.mark.parametrize("gone", ["sd-scripts", "sd-scripts/library", "sd-scripts/.git", "options.json"])
def test_fix_makes_an_environment_whole_that_lacks_a_part(own: Cli, gone: str) -> None:
    path = checkout(own).parent / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    if gone.endswith(".git"):
        (path.parent / "sdxl_train.py").unlink()

    assert own("doctor").code == 5
    assert own("doctor", "--fix").code == 0

    assert environment.require(Home(own.folder / "home"))


def test_a_python_that_is_gone_is_only_told(own: Cli) -> None:
    shutil.rmtree(checkout(own).parent / "venv")
    told = own("doctor", "--fix")

    assert told.code == 5
    assert re.search(r"broken   the environment's Python: .*\n +hint: `sdxl-train setup --recreate`", told.stdout)


def test_without_an_environment_it_says_how_to_make_one(fresh: Cli) -> None:
    told = fresh("doctor")

    assert told.code == 5
    assert "hint:  run `sdxl-train setup`" in told.stderr


def test_a_full_disk_is_an_error(main: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: Usage(10**9, 10**9, 0))
    told = main("doctor")

    assert told.code == 5
    assert "missing  free disk of the output folder: 0.0 GB, less than 1" in told.stdout
    assert "--output" in told.stdout


def test_every_command_that_a_hint_names_is_there(cli: Cli) -> None:
    hints = [text for row in doctor_table.checks() for text in
             (row.hint, row.slow_hint, row.changed_hint, row.build_hint) if text]  # fmt: skip
    named = {tuple(found.split()) for hint in hints for found in re.findall(r"`sdxl-train ([^`]+)`", hint)}

    for words in named:
        flags = [word for word in words if word.startswith("--")]
        command = words[: words.index(flags[0])] if flags else words
        helped = cli(*command, "--help")
        assert helped.code == 0, words
        assert all(flag in helped.stdout for flag in flags), words
