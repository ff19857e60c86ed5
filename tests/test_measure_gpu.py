"""The script that measures memory and speed: its cells, its file and its table. It runs in test_upstream_real.py."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import write_pictures

from sdxl_train_cli import gpu
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.layout import Home
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.run.smoke import SmokeMaterial

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "measure_gpu.py"
MEASURED = ROOT / "docs" / "measured_h100.jsonl"
sys.path.insert(0, str(SCRIPT.parent))

import measure_gpu  # noqa: E402 - scripts are run by path
import measured_cells  # noqa: E402 - the same


def test_a_cell_is_read_as_it_is_typed() -> None:
    cell = measure_gpu.parse("lora/dim32-gc:4:default+compile:60")

    assert cell == measure_gpu.Cell(Kind.LORA, "dim32-gc", 4, "default+compile", 60)
    assert cell.name == "lora/dim32-gc:4:default+compile"
    assert measure_gpu.parse("locon/mine:1:plain").steps == measure_gpu.STEPS


def test_a_cell_may_change_options_of_its_preset() -> None:
    cell = measure_gpu.parse("dreambooth/gc+full_bf16=true+lowram=true:1:plain")

    assert (cell.preset, cell.settings) == ("gc", ("full_bf16=true", "lowram=true"))
    assert cell.name == "dreambooth/gc+full_bf16=true+lowram=true:1:plain"


@pytest.mark.parametrize("text", ["lora/dim32+lowram:1:plain", "", "lora", "lora/dim32", "lora:1:plain",
                                  "cat/dim32:1:plain", "lora/dim32:0:plain",
                                  "lora/dim32:x:plain", "lora/dim32:1:plain:0", "lora/dim32:1:plain:2:3"])  # fmt: skip
def test_what_is_no_cell_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a cell"):
        measure_gpu.parse(text)


def test_every_cell_of_the_list_names_a_preset_that_there_is() -> None:
    cells = [measure_gpu.parse(text) for text in measure_gpu.CELLS]

    assert len({cell.name for cell in cells}) == len(cells)
    assert all(cell.preset in presets.names(cell.kind) for cell in cells)


def test_the_watching_script_stands_outermost_and_a_plain_cell_has_no_other() -> None:
    argv = ["python", "-m", "accelerate.commands.launch", "--cpu", "/ours/scaled.py", "/sd/train.py", "--seed", "1"]
    ours = str(measure_gpu.INSIDE / "observed.py")

    plain = measure_gpu.through(argv, ["report"], "plain")
    fast = measure_gpu.through(argv, ["report"], "default+compile")

    assert plain == [*argv[:4], ours, "report", *argv[4:]]
    assert fast == [*argv[:4], ours, "report", str(measure_gpu.INSIDE / "fast.py"), "default,compile", *argv[4:]]


def test_a_file_of_another_kind_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").write_text('{"a": 1}\n', encoding="utf-8")

    with pytest.raises(UsageError, match="has lines that this script did not write"):
        measure_gpu.read(tmp_path / "other.jsonl")


def test_lines_are_read_as_they_were_written(tmp_path: Path) -> None:
    lines = measure_gpu.read(MEASURED)
    for line in lines:
        measure_gpu.write(tmp_path / "again.jsonl", line)

    assert lines
    assert measure_gpu.read(tmp_path / "again.jsonl") == lines


@pytest.mark.parametrize("turn", [1, -1])
def test_a_cell_is_held_against_the_fastest_plain_one(turn: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Once, against the last one, be it slow or not ended."""
    fast = next(line for line in measure_gpu.read(MEASURED) if line.way == "default")
    plain = [replace(fast, way="plain", seconds_per_step=fast.seconds_per_step * times) for times in (2, 3)]
    broken = replace(plain[0], status="failed", seconds_per_step=None)

    measure_gpu.show([*[*plain, broken][::turn], fast])

    assert capsys.readouterr().out.splitlines()[-1].split(" | ")[3] == "2.00"


def test_the_page_shows_the_table_that_the_script_prints_of_the_measured_file() -> None:
    argv = [sys.executable, str(SCRIPT), "--output", str(MEASURED), "--minutes", "0"]
    printed = subprocess.run(argv, capture_output=True, encoding="utf-8", check=True).stdout

    assert printed.strip()
    assert printed.strip() in (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")


@pytest.fixture
def place(
    home: Path, installed: Environment, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> measure_gpu.Place:
    """A GPU of 80 GB and a model, as far as preparing a cell needs them."""
    device = gpu.hypothetical(80, 0.5)
    monkeypatch.setattr(gpu, "devices", lambda: (device,))
    material = SmokeMaterial(model, home / "tokenizers", write_pictures(tmp_path / "own"))
    return measure_gpu.Place(Home(home), installed, device, material, is_scaled=False, folder=tmp_path)


@pytest.mark.parametrize(("changes", "drawn"), [("", False), ("+sample_every_n_steps=4", True)])
def test_a_cell_draws_samples_only_where_it_asks_for_them_and_holds_back_no_pictures(
    changes: str, drawn: bool, place: measure_gpu.Place
) -> None:
    prepared = measure_gpu.prepare(measure_gpu.parse(f"lora/dim32-gc{changes}:1:plain:6"), place, place.folder)

    assert ("--sample_prompts" in prepared.argv, "--sample_every_n_steps" in prepared.argv) == (drawn, drawn)
    assert prepared.samples is None
    assert not any("validation" in word for word in prepared.argv)


def test_the_shipped_cells_are_what_the_script_makes_of_what_was_measured() -> None:
    argv = [sys.executable, str(ROOT / "scripts" / "measured_cells.py"), "--check"]

    assert subprocess.run(argv, check=False, capture_output=True, timeout=60).returncode == 0


def line(process_gib: float, status: str = "ok", model: str = "full size", way: str = "plain") -> measure_gpu.Line:
    made = next(one for one in measure_gpu.read(MEASURED) if one.cell == "lora/dim32-gc:1:plain")
    reserved = process_gib - 0.5
    return replace(made, process_gib=process_gib, training_reserved_gib=reserved, status=status, model=model, way=way)


def test_of_equal_cells_the_one_that_took_most_counts_and_none_that_failed_or_was_scaled() -> None:
    lines = [line(7.0), line(7.2), line(9.0, status="out of memory"), line(8.0, model="scaled"), line(8.0, way="lora")]
    rows = list(csv.DictReader(one for one in measured_cells.table(lines).splitlines() if not one.startswith("#")))

    assert [(row["process_gib"], row["context_gib"]) for row in rows] == [("7.2", "0.5")]
