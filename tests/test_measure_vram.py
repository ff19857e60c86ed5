"""The script that measures the table's cells, without a GPU: the way is walked, and no GPU's figure is invented."""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from pathlib import Path

import pytest

from sdxl_train_cli import gpu
from sdxl_train_cli.environment import environment
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory import estimation, requirement
from sdxl_train_cli.recipe import Kind
from sdxl_train_cli.run.smoke import SmokeMaterial

SCRIPT = Path(__file__).parents[1] / "scripts" / "measure_vram.py"
sys.path.insert(0, str(SCRIPT.parent))

import measure_vram  # noqa: E402 - scripts are run by path

CARD = Gpu(0, "card", 139.0, 138.0, (9, 0), "550.54.14")


def measure(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(SCRIPT), "--output", "out/measured.csv", *arguments]
    return subprocess.run(argv, cwd=folder, capture_output=True, encoding="utf-8", check=False)


def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("installed")
def test_without_a_gpu_one_cell_proves_the_way_and_the_gpus_columns_stay_empty(tmp_path: Path, home: Path) -> None:
    first = measure(tmp_path, "--home", str(home), "--rows", "LoRA 32, gc")
    again = measure(tmp_path, "--home", str(home), "--rows", "LoRA 32, gc", "--against")
    (line,) = lines_of(tmp_path / "out" / "measured.csv")

    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    assert "NO GPU" in first.stderr
    assert "0 cells to measure, 1 known" in again.stderr
    assert "no cell has been measured on a GPU yet" in again.stdout
    assert (line["row"], line["batch"], line["status"], line["model"]) == (
        "LoRA 32, gc",
        "1",
        "ok",
        measure_vram.STAND_IN,
    )
    assert float(line["resident_gib"]) > 0
    assert {line[name] for name in ("allocated_gib", "reserved_gib", "process_gib", "estimated_gib", "gpu")} == {""}


def test_every_cell_can_be_prepared_as_the_table_was_and_as_the_preset_ships(
    tmp_path: Path, home: Path, model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "devices", lambda: (CARD,))
    material = SmokeMaterial(model, tmp_path, pictures)
    place = measure_vram.Place(Home(home), environment.require(Home(home)), CARD, material, measure_vram.FULL, tmp_path)
    asked = argparse.Namespace(variant=None, rows="", batches=(1,))
    rows = {row.title: row for row in requirement.rows()}
    found = list(measure_vram.cells(asked))
    for number, cell in enumerate(found):
        (tmp_path / str(number)).mkdir()
        recipe = measure_vram.prepare(cell, place, tmp_path / str(number)).recipe
        if cell.variant == measure_vram.AS_TABLE:
            row_recipe = estimation.table_recipe(rows[cell.row], 1)
            assert estimation.estimate(recipe) == estimation.estimate(row_recipe), cell

    assert len(found) == 2 * 16


def cell(batch: int) -> measure_vram.Cell:
    return measure_vram.Cell(measure_vram.AS_TABLE, "LoRA 32", batch, Kind.LORA, "dim32")


def line(batch: int, process: str, status: str = measure_vram.OK) -> measure_vram.Measured:
    return measure_vram.Measured(
        measure_vram.AS_TABLE, "LoRA 32", str(batch), status, process_gib=process, estimated_low_gib="9",
        estimated_gib="11", estimated_high_gib="12", gpu="card",
    )  # fmt: skip


def test_batches_above_one_that_ran_out_of_memory_are_left_away() -> None:
    known = [line(4, "", measure_vram.OUT_OF_MEMORY)]

    assert [measure_vram.ran_out(known, cell(size), "card") for size in (2, 3, 4, 8)] == [False, False, True, True]
    assert not measure_vram.ran_out(known, cell(8), "another card")


def test_the_estimates_error_is_told_for_each_cell_and_in_the_mean(capsys: pytest.CaptureFixture[str]) -> None:
    measure_vram.compare([line(1, "10"), line(2, "22"), line(3, "", measure_vram.OUT_OF_MEMORY)])
    first, second, last = capsys.readouterr().out.splitlines()

    assert first.endswith("10.00    11.00 (9-12)  +10.0 %")
    assert second.endswith("-50.0 %")
    assert last == "2 cells: mean absolute error 30.0 %, largest -50.0 %, 1 within the estimate's range"


@pytest.mark.parametrize("content", ["a,b\n1,2\n", ",".join(measure_vram.COLUMNS) + "\nx,y\n"])
def test_a_file_of_something_else_is_not_written_into(tmp_path: Path, content: str) -> None:
    path = tmp_path / "out" / "measured.csv"
    path.parent.mkdir()
    path.write_text(content, encoding="utf-8")

    result = measure(tmp_path)

    assert result.returncode == 1
    assert "error: " in result.stderr
    assert "Traceback" not in result.stderr
    assert path.read_text(encoding="utf-8") == content
