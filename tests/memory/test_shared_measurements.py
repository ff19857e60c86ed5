"""A CSV that goes from one person to another: nothing is lost on the way, and nothing odd gets in."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
from measured_runs import record

from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.memory import shared_measurements
from sdxl_train_cli.memory.measurements import Measurement
from sdxl_train_cli.recipe import Kind

RECORDS = [
    record(),
    record(seconds_per_step=None, others="torch_compile=true network_weights=set", optimizer_args="betas=0.9,0.99"),
    record(kind=Kind.DREAMBOOTH, network_dim=None, network_module="", torch=""),
]


def written(tmp_path: Path, *records: Measurement) -> Path:
    path = tmp_path / "runs мир.csv"
    shared_measurements.write(path, shared_measurements.to_csv(records))
    return path


def changed(path: Path, column: str, text: str) -> Path:
    """The file with one cell of its first row replaced."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0][column] = text
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_what_is_exported_is_read_elsewhere_with_nothing_lost(tmp_path: Path) -> None:
    found = shared_measurements.read(written(tmp_path, *RECORDS))

    assert found == [one.model_copy(update={"is_from_elsewhere": True}) for one in RECORDS]


def test_the_columns_are_named_and_say_nothing_of_their_owner(tmp_path: Path) -> None:
    heading = written(tmp_path, *RECORDS).read_text(encoding="utf-8").splitlines()[0].split(",")

    assert {"kind", "optimizer", "batch_size", "peak_gib", "seconds_per_step", "gpu", "driver", "torch"} < set(heading)
    assert "is_from_elsewhere" not in heading


@pytest.mark.parametrize(
    ("column", "text", "told"),
    [
        ("kind", "lumina", "kind"),
        ("peak_gib", "a lot", "peak_gib"),
        ("peak_gib", "nan", "peak_gib"),
        ("peak_gib", "99", "a peak of 99 GB on a GPU of 12"),
        ("batch_size", "0", "batch_size"),
        ("gradient_checkpointing", "perhaps", "gradient_checkpointing"),
        ("gpu", "", "gpu"),
        ("gpu", "RTX \x1b]0;gone\x07", "can't be printed"),
        ("measured", "yesterday", "measured"),
    ],
)
def test_a_row_that_is_wrong_is_told_with_its_line_and_nothing_is_taken(
    tmp_path: Path, column: str, text: str, told: str
) -> None:
    path = changed(written(tmp_path, *RECORDS), column, text)

    with pytest.raises(UsageError) as caught:
        shared_measurements.read(path)

    (problem,) = caught.value.problems
    assert str(problem).startswith(f"{path}:2: ")
    assert told in str(problem)


def test_every_wrong_row_is_told_up_to_a_few(tmp_path: Path) -> None:
    path = written(tmp_path, *[record()] * 15)
    path.write_text(path.read_text(encoding="utf-8").replace("7.3", "-1"), encoding="utf-8")

    with pytest.raises(UsageError) as caught:
        shared_measurements.read(path)

    assert len(caught.value.problems) == 11
    assert "and 5 more rows" in str(caught.value.problems[-1])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "has no column"),
        (b"a,b\n1,2\n", "has no column kind"),
        (b"\xff\xfe\x00", "is not UTF-8"),
        (b'"open\n', "is not CSV"),
        (None, "can't be read"),
    ],
)
def test_a_file_that_is_something_else_is_told(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "x.csv"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(UsageError) as caught:
        shared_measurements.read(path)

    assert told in str(caught.value.problems[0])


def test_what_is_there_already_is_not_taken_twice_be_it_ones_own_that_comes_back(tmp_path: Path) -> None:
    new = shared_measurements.read(written(tmp_path, *RECORDS, RECORDS[0]))

    assert shared_measurements.new_records(new, [RECORDS[1]]) == [new[0], new[2]]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")

    with pytest.raises(UsageError, match="can't be read: not a plain file"):
        shared_measurements.read(tmp_path / "pipe.csv")


def test_a_file_larger_than_any_list_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "large.csv").open("wb") as file:
        file.truncate(50_000_001)

    with pytest.raises(UsageError, match="larger than 50,000,000 bytes"):
        shared_measurements.read(tmp_path / "large.csv")
