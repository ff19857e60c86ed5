"""`vram` and `plan`, as they are typed."""

from __future__ import annotations

import csv
import io
import json
import shlex
from pathlib import Path

import pytest
from conftest import Cli

SIZES = (6, 8, 10, 12, 16, 24, 48, 80)


def test_the_table_has_25_measured_cells_and_55_with_a_range(cli: Cli) -> None:
    rows = json.loads(cli("vram", "--json").stdout)
    cells = [cell for row in rows for cell in row["cells"].values()]

    assert len(rows) == 16
    assert sum(cell["source"] == "measured" for cell in cells) == 25
    assert all(cell["low_gib"] < cell["high_gib"] for cell in cells if cell["source"] == "estimated")
    assert rows[4]["cells"]["1"] == {"source": "measured", "gib": 9.4}


def test_the_table_comes_as_csv_too(cli: Cli) -> None:
    lines = list(csv.DictReader(io.StringIO(cli("vram", "--csv").stdout)))

    assert len(lines) == 80
    assert {line["source"] for line in lines} == {"measured", "estimated"}


def test_what_is_too_large_for_the_card_is_marked(cli: Cli) -> None:
    shown = cli("vram", "--gpu", "12")
    row = next(line for line in shown.stdout.splitlines() if line.startswith("LoRA 32, gc"))

    assert "- 13.1" in row
    assert "- 9.4" not in row
    assert "11.5 GB" in shown.stderr


@pytest.mark.parametrize("size", SIZES)
def test_every_planned_command_passes_a_dry_run_on_that_card(cli: Cli, size: int, pictures: Path, model: Path) -> None:
    planned = json.loads(cli("plan", "--gpu", str(size), "--data", str(pictures), "--json").stdout)

    assert planned
    for offer in planned:
        words = shlex.split(offer["command"])
        assert words[0] == "sdxl-train"
        result = cli(*words[1:], "--model", str(model), "--dry-run", "--gpu-memory", str(size))
        assert result.code == 0, (offer["command"], result.stderr)


def test_a_larger_card_is_offered_at_least_as_large_batches(cli: Cli) -> None:
    def largest(size: int) -> int:
        offers = json.loads(cli("plan", "--kind", "lora", "--gpu", str(size), "--json").stdout)
        return max(offer["batch_size"] for offer in offers)

    assert [largest(size) for size in SIZES] == sorted(largest(size) for size in SIZES)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("plan", "--gpu", "-3"), 2),
        (("plan", "--gpu", "nan"), 2),
        (("plan", "--gpu", "0"), 2),
        (("plan", "--gpu", "8", "--kind", "lokr"), 2),
        (("plan", "--gpu", "8", "--resolution", "0"), 2),
        (("plan", "--gpu", "3"), 6),
        (("plan",), 6),
        (("vram", "--gpu", "0.1"), 2),
    ],
)
def test_what_makes_no_sense_is_one_line(cli: Cli, words: tuple[str, ...], code: int) -> None:
    result = cli(*words)

    assert result.code == code
    assert "Traceback" not in result.stderr


def test_a_real_run_is_not_started_on_an_imagined_gpu(cli: Cli, pictures: Path, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "never"
    result = cli("lora", "--data", str(pictures), "--model", str(model), "--gpu-memory", "24", "--output", str(output))

    assert result.code == 2
    assert "--dry-run" in result.stderr
    assert not output.exists()
