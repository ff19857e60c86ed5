"""Records of measured runs: kept line by line, found again for the same settings, and never a wrong one."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest
from conftest import write_pictures
from measured_runs import CARD, recipe, record
from pydantic import ValidationError

from sdxl_train_cli import files
from sdxl_train_cli.dataset import folders, sources
from sdxl_train_cli.dataset.folders import TrainingPictures
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory import measurements
from sdxl_train_cli.memory.cuda_context import CudaContext
from sdxl_train_cli.memory.measurements import MeasuredRuns, Measurement
from sdxl_train_cli.recipe import Recipe, Setting


@pytest.fixture
def place(tmp_path: Path) -> Home:
    return Home(tmp_path / "a home")


@pytest.fixture
def scanned(tmp_path: Path) -> TrainingPictures:
    return sources.scan(write_pictures(tmp_path / "cats"), regularisation=None, repeats=None, trigger=None)


def like(
    records: list[Measurement], asked: Recipe, scanned: TrainingPictures, installed: Environment
) -> Measurement | None:
    return MeasuredRuns(records, CARD, installed.lock.commit, folders.files(scanned)).like(asked)


def test_what_is_added_is_loaded_again(place: Home) -> None:
    first, second = record(), record(peak_gib=8.0, seconds_per_step=None)

    assert measurements.load(place) == ([], [])
    assert measurements.add(place, first) is None
    assert measurements.add(place, second) is None
    assert measurements.load(place) == ([first, second], [])


def test_a_run_becomes_a_record_of_its_settings_its_fullest_batch_and_its_machine(
    scanned: TrainingPictures, installed: Environment
) -> None:
    measured = measurements.from_run(recipe(train_batch_size=8), scanned, installed, CARD, 9.87654, 2.0)

    assert measured is not None
    assert (measured.width, measured.height, measured.together, measured.batch_size) == (1152, 896, 3, 8)
    assert (measured.peak_gib, measured.seconds_per_step) == (9.877, 2.0)
    assert (measured.gpu, measured.driver, measured.sd_scripts_commit) == (
        CARD.name, CARD.driver, installed.lock.commit,
    )  # fmt: skip
    assert not measured.is_from_elsewhere
    assert like([measured], recipe(train_batch_size=8), scanned, installed) == measured


def test_figures_that_can_not_be_are_not_kept(
    scanned: TrainingPictures, installed: Environment, tmp_path: Path
) -> None:
    gone = sources.scan(write_pictures(tmp_path / "dogs"), regularisation=None, repeats=None, trigger=None)
    for file in (tmp_path / "dogs").iterdir():
        file.unlink()

    assert measurements.from_run(recipe(), scanned, installed, CARD, 40.0, 1.0) is None
    assert measurements.from_run(recipe(), scanned, installed, CARD, 0.0, 1.0) is None
    assert measurements.from_run(recipe(), gone, installed, CARD, 7.0, 1.0) is None


WRITER = """
import sys
from pathlib import Path
from sdxl_train_cli.memory import measurements
from sdxl_train_cli.layout import Home
home = Home(Path(sys.argv[1]))
one = measurements.load(home)[0][0]
for _ in range(100):
    assert measurements.add(home, one) is None
"""


def test_two_runs_that_end_at_once_do_not_mix_their_lines(place: Home) -> None:
    measurements.add(place, record())
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(place.path)]) for _ in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    found, problems = measurements.load(place)

    assert problems == []
    assert len(found) == 1 + 2 * 100


def test_broken_lines_are_told_in_one_line_and_stay_in_the_file(place: Home) -> None:
    measurements.add(place, record())
    with place.measurements.open("ab") as file:
        file.write(b'{"kind": "lora"}\n\xff\xfe\n\n[1]\n')
    measurements.add(place, record(peak_gib=8.0))
    before = place.measurements.read_bytes()

    found, problems = measurements.load(place)

    assert [one.peak_gib for one in found] == [7.3, 8.0]
    (problem,) = problems
    assert "lines 2, 3, 5 can't be read and are skipped" in str(problem)
    assert "\n" not in str(problem)
    assert place.measurements.read_bytes() == before


def test_a_line_that_was_cut_off_spoils_no_other(place: Home) -> None:
    measurements.add(place, record())
    with place.measurements.open("ab") as file:
        file.write(b'{"kind": "lo')

    measurements.add(place, record(peak_gib=8.0))
    found, problems = measurements.load(place)

    assert [one.peak_gib for one in found] == [7.3, 8.0]
    assert "line 2 can't be read and is skipped" in str(problems[0])


def test_a_file_that_can_not_be_written_is_told_and_harms_nothing(place: Home) -> None:
    place.measurements.mkdir(parents=True)

    problem = measurements.add(place, record())
    found, problems = measurements.load(place)

    assert problem is not None
    assert "could not be saved" in str(problem)
    assert (found, len(problems)) == ([], 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"peak_gib": 13.0},
        {"peak_gib": 0.0},
        {"peak_gib": float("nan")},
        {"together": 2},
        {"batch_size": 0},
        {"width": 0},
        {"gpu_total_gib": 1e6},
        {"gpu": ""},
        {"torch": "2\x1b[2J"},
        {"measured": datetime(2026, 11, 20)},  # noqa: DTZ001 - without a zone, which is what is wrong
        {"surprise": 1},
    ],
)
def test_a_record_that_can_not_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        record(**wrong)


# --- like


def test_the_highest_record_of_the_same_settings_counts(scanned: TrainingPictures, installed: Environment) -> None:
    records = [record(), record(peak_gib=7.9), record(peak_gib=7.5), record(network_dim=64, peak_gib=9.0)]

    found = like(records, recipe(), scanned, installed)

    assert found is not None
    assert found.peak_gib == 7.9


@pytest.mark.parametrize(
    "other",
    [
        {"gpu": "NVIDIA GeForce RTX 3060"},
        {"optimizer": "adamw"},
        {"batch_size": 2},
        {"batch_size": 2, "together": 2},
        {"width": 768, "height": 1024},
        {"width": 1536, "height": 1536},
        {"others": "torch_compile=true"},
    ],
)
def test_another_run_says_nothing_of_this_one(
    scanned: TrainingPictures, installed: Environment, other: dict[str, object]
) -> None:
    assert like([record(**other)], recipe(), scanned, installed) is None


def test_a_batch_that_was_never_full_says_nothing_of_a_full_one(tmp_path: Path, installed: Environment) -> None:
    many = sources.scan(write_pictures(tmp_path / "many", 8), regularisation=None, repeats=None, trigger=None)
    starved = record(batch_size=8, together=3)

    assert like([starved], recipe(train_batch_size=8), many, installed) is None


def test_figures_that_no_run_could_have_are_no_fault_of_the_records(
    scanned: TrainingPictures, installed: Environment
) -> None:
    absurd = recipe().replaced({"train_batch_size": Setting(value=10**6, origin="--set")})

    assert like([record()], absurd, scanned, installed) is None


def test_without_pictures_full_batches_of_the_largest_are_spoken_of(installed: Environment) -> None:
    records = MeasuredRuns([record(width=1024, height=1024)], CARD, installed.lock.commit)

    assert records.like(recipe()) is not None
    assert records.like(recipe(train_batch_size=2)) is None
    assert (
        MeasuredRuns([record()], CARD, installed.lock.commit).like(recipe()) is None
    )  # 1152x896 has a few pixels less


def test_a_slightly_larger_picture_speaks_for_a_smaller_one(scanned: TrainingPictures, installed: Environment) -> None:
    assert like([record(width=1024, height=1024)], recipe(), scanned, installed) is not None


def test_own_records_come_before_others_and_this_sd_scripts_before_another(
    scanned: TrainingPictures, installed: Environment
) -> None:
    commit = installed.lock.commit
    elsewhere = record(peak_gib=9.0, is_from_elsewhere=True, sd_scripts_commit=commit)
    before, now = record(peak_gib=8.0, sd_scripts_commit="old"), record(peak_gib=7.0, sd_scripts_commit=commit)

    assert like([elsewhere], recipe(), scanned, installed) == elsewhere
    assert like([elsewhere, before], recipe(), scanned, installed) == before
    assert like([elsewhere, before, now], recipe(), scanned, installed) == now


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "7.3 GB (measured on this machine on 2026-11-20)"),
        (
            {"is_from_elsewhere": True},
            f"7.3 GB (measured elsewhere on the same kind of GPU, {CARD.name}, on 2026-11-20)",
        ),
        (
            {"sd_scripts_commit": "old", "sd_scripts": "v0.9.1"},
            "7.3 GB (measured on this machine on 2026-11-20 with sd-scripts v0.9.1)",
        ),
    ],
)
def test_a_need_says_where_and_when_it_was_measured(changes: dict[str, object], told: str) -> None:
    assert str(measurements.need(record(**changes), "abc")) == told


def test_a_file_larger_than_any_records_is_told_and_not_read(place: Home) -> None:
    place.path.mkdir(parents=True)
    with place.measurements.open("wb") as file:
        file.truncate(files.LARGEST_BYTES + 1)
    found, problems = measurements.load(place)

    assert not found
    assert "is larger than" in problems[0].message


def test_a_fast_run_counts_as_the_fast_run_that_was_measured_with_its_larger_context() -> None:
    """Recorded graphs are no memory of PyTorch's: 0.85 GB beside what it reserved, where a plain run has 0.75."""
    context = CudaContext(0.3, 0.3, 0.3, "")
    plain, fast = (
        MeasuredRuns((), CARD, "abc", context=context, fast=fast).need(recipe()).high_gib for fast in (False, True)
    )

    assert plain == pytest.approx(6.768 + 0.3, abs=0.01)
    assert fast == pytest.approx(7.217 + 0.1 + 0.3, abs=0.01)


def test_plain_and_fast_runs_are_kept_apart() -> None:
    both = [
        record(width=1024, height=1024),
        record(width=1024, height=1024, fast=True, peak_gib=8.1, seconds_per_step=0.25),
    ]
    plain, fast = (MeasuredRuns(both, CARD, "abc", fast=one) for one in (False, True))

    assert (plain.need(recipe()).high_gib, fast.need(recipe()).high_gib) == (7.3, 8.1)
    assert plain.pictures_per_second(recipe(), fast=False) == pytest.approx(0.8)
    assert plain.pictures_per_second(recipe(), fast=True) == pytest.approx(4.0)


def test_a_fast_run_that_nobody_measured_counts_as_up_to_seven_percent_more_than_a_plain_one() -> None:
    asked = recipe(network_dim=200)
    plain, fast = (MeasuredRuns((), CARD, "abc", fast=fast).need(asked) for fast in (False, True))

    assert fast.high_gib == pytest.approx(1.07 * plain.high_gib, abs=0.01)
    assert fast.low_gib == plain.low_gib
    assert "--fast" in fast.doubts[-1]
