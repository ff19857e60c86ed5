"""Faults that people met on their first evening."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Cli, Result, write_pictures, write_safetensors
from rich.console import Console

from sdxl_train_cli.records import comparison
from sdxl_train_cli.sdscripts.progress import Step, Stopping, TrainerPhase
from sdxl_train_cli.ui.live import TerminalView

Main = Callable[..., Result]


@pytest.fixture
def here(main: Main, tmp_path: Path) -> Main:
    write_pictures(tmp_path / "data")
    write_safetensors(tmp_path / "base.safetensors")
    return main


def dry(main: Main, *words: object) -> Result:
    return main("lora", "--dry-run", "--gpu-memory", "24", *words)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (bytes(100_000), "is no checkpoint: torch did not write it"),
        (b"", "is no checkpoint: torch did not write it"),
        (b"PK\3\4" + bytes(1000), "is cut off"),
    ],
)
def test_a_ckpt_that_holds_nothing_is_refused_before_the_start(
    here: Main, tmp_path: Path, content: bytes, told: str
) -> None:
    (tmp_path / "base.ckpt").write_bytes(content)

    result = dry(here, "-m", "base.ckpt")

    assert (result.code, told in result.stderr) == (4, True)


def test_an_output_that_takes_nothing_is_no_full_disk(here: Main) -> None:
    result = dry(here, "-m", "base.safetensors", "-o", "/proc/there")

    assert result.code == 2
    assert "nothing can be written to /proc\nhint:  choose another place: --output FOLDER" in result.stderr


def test_prompts_without_a_rhythm_are_given_one(here: Main, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\n", encoding="utf-8")

    result = dry(here, "-m", "base.safetensors", "--set", "sample_prompts=prompts.txt")

    assert "hint:  --set sample_every_n_steps=250, or --set sample_prompts=null" in result.stderr


def test_dora_on_a_plain_lora_is_shown_the_module_that_has_it(here: Main) -> None:
    result = dry(here, "-m", "base.safetensors", "--set", "network_args=dora_wd=true")

    told = "LyCORIS knows it: --set network_module=lycoris.kohya --set 'network_args=algo=lora dora_wd=true'"
    assert told in result.stderr


def test_presets_check_takes_names_and_files(main: Main, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: dim32-gc\n", encoding="utf-8")

    good, unknown = main("presets", "check", "dim32", "gc", "mine.yaml"), main("presets", "check", "dim33")

    assert good.code == 0, good.stderr
    assert (unknown.code, "did you mean dim32" in unknown.stderr) == (3, True)


def test_plan_marks_what_is_the_users_own(main: Main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDXL_TRAIN_CONFIG", str(tmp_path / "config"))
    own = tmp_path / "config" / "presets" / "lora"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("extends: dim32-gc\nnetwork_dim: 16\n", encoding="utf-8")

    told = main("plan", "--gpu-memory", "10", "--kind", "lora").stderr

    assert told.count("your own preset; needs") == 1


def test_the_words_of_a_stop_stay_until_the_end() -> None:
    view = TerminalView()
    for event in (TrainerPhase("training"), Stopping("stopping after this step"), Step(3, 9, 0.1, 1.0, 6.0)):
        view.show(event)

    shown = Console(width=120, file=io.StringIO())
    shown.print(view.picture())
    assert isinstance(shown.file, io.StringIO)
    assert "stopping after this step" in shown.file.getvalue()


def test_a_figure_has_no_sixteen_digits() -> None:
    assert comparison.text(0.1 + 0.2) == "0.3"
    assert comparison.text(1e-4) == "0.0001"


def test_a_run_is_repeated_with_other_settings(cli: Cli) -> None:
    write_pictures(cli.folder / "data")
    write_safetensors(cli.folder / "base.safetensors")
    assert cli("lora", "-m", "base.safetensors", "--no-vram-check", "-n", "cat", "--steps", "3").code == 0

    again = cli("runs", "rerun", "cat", "--seed", "7", "--set", "rank=8", "--json")
    explained = cli("runs", "explain", "cat-2", "-o", "output")

    record = json.loads((cli.folder / "output" / "cat-2" / "run.json").read_text(encoding="utf-8"))
    settings = {name: one["value"] for name, one in record["settings"].items()}
    assert again.code == 0, again.stderr
    assert (settings["seed"], settings["network_dim"]) == (7, 8)
    assert json.loads(again.stdout.splitlines()[0])["event"]
    assert explained.stdout.startswith("this run finished")


def test_captions_named_with_the_pictures_suffix_are_kept_by_fix(main: Main, tmp_path: Path) -> None:
    write_pictures(tmp_path / "data", caption=None)
    for picture in (tmp_path / "data").glob("*.png"):
        picture.with_name(f"{picture.name}.txt").write_text(f"cat {picture.stem}\n", encoding="utf-8")

    checked = main("dataset", "check", "data", "--trigger", "cat")
    fixed = main("dataset", "fix", "data", "--to", "copy")

    assert "`sdxl-train dataset fix` names those like cat.png.txt so" in checked.stdout
    assert fixed.code == 0, fixed.stderr
    assert {file.name: file.read_text(encoding="utf-8") for file in (tmp_path / "copy").glob("*.txt")} == {
        f"{number}.txt": f"cat {number}\n" for number in range(3)
    }


def test_findings_of_reg_name_its_own_folder(main: Main, tmp_path: Path) -> None:
    write_pictures(tmp_path / "data")
    write_pictures(tmp_path / "reg", caption="")

    result = main("dataset", "check", "data", "--reg", "reg")

    assert result.stdout.splitlines()[-1].startswith(
        f"6 pictures, 6 captions in {tmp_path / 'data'} and {tmp_path / 'reg'}: "
    )
    assert str(tmp_path / "reg" / "0.txt") in result.stdout
