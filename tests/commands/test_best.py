"""`sdxl-train best` as it is typed, and `--keep-best`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import kept_runs
import pytest
from conftest import Result, write_pictures

from sdxl_train_cli import formatting

sys.path.insert(0, str(Path(__file__).parents[1] / "ranking"))

import validated_runs

STEPS = (100, 200, 300)
Main = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = validated_runs.write_run(tmp_path / "output" / "cat", STEPS)
    validated_runs.write_losses(folder, STEPS, lambda number, step: (0.3, 0.2, 0.4)[step // 100 - 1] + 0.01 * number)
    return folder


def test_a_run_is_found_by_its_name_and_its_verdict_is_data_too(main: Main, run: Path) -> None:
    told = main("best", "cat", "--output", run.parent, "--no-weights")
    data = json.loads(main("best", run, "--json", "--no-weights").stdout)

    assert told.code == 0
    assert told.stdout.startswith("best: cat-step00000200.safetensors (step 200), strength 1 to begin with\n")
    assert "clearly worse: step 100, final" in told.stdout
    assert f"page: {run / 'best.html'}" in told.stderr
    assert data["best"] == str(run / "cat-step00000200.safetensors")
    assert (data["basis"], data["course"], data["sure"]) == ("validation", "turned", True)
    assert [one["standing"] for one in data["checkpoints"]] == ["clearly worse", "best", "clearly worse"]


def test_the_page_has_both_curves_and_loads_nothing(main: Main, run: Path, tmp_path: Path) -> None:
    main("best", run, "--no-weights", "--to", tmp_path / "page.html")

    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert '"held_back":[0.335,0.235,0.435]' in text
    assert "default-src 'none'" in text


def test_a_folder_that_no_run_made_is_judged_by_its_files(main: Main, tmp_path: Path) -> None:
    for step in STEPS:
        (tmp_path / "other").mkdir(exist_ok=True)
        validated_runs.write_network(tmp_path / "other" / f"dog-{step:06d}.safetensors", step, "dog")

    found = main("best", tmp_path / "other", "--no-weights")

    assert found.stdout.startswith("best: dog-000300.safetensors (step 300)")
    assert "rests on the files alone" in found.stdout
    assert not list((tmp_path / "other").glob("*.html"))


def test_checkpoints_of_two_trainings_are_not_ranked_together(main: Main, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        validated_runs.write_network(tmp_path / f"{name}.safetensors", 100, name)

    found = main("best", tmp_path)

    assert found.code == 2
    assert "holds checkpoints of 2 trainings: cat, dog" in found.stderr


def test_an_unknown_run_and_a_run_without_checkpoints_are_refused(main: Main, run: Path) -> None:
    for path in run.glob("*.safetensors"):
        path.unlink()

    unknown, empty = main("best", "bird", "--output", run.parent), main("best", run)

    assert (unknown.code, empty.code) == (2, 2)
    assert "no run 'bird'" in unknown.stderr
    assert "cat has no checkpoint" in empty.stderr


def test_a_file_is_answered_with_its_folder(main: Main, run: Path) -> None:
    found = main("best", next(run.glob("*.safetensors")))

    assert found.code == 2
    assert "is a file: best takes a run or a folder" in found.stderr
    assert f"sdxl-train best {formatting.shell_word(run)}\n" in found.stderr


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("lora", "no pictures are held back, so nothing would tell which is best -> add --validate"),
        ("lora --validate --set save_every_n_steps=null", "only the last file is saved -> add --save-every 100"),
        ("dreambooth", "sdxl_train.py has none -> leave out --keep-best"),
    ],
)
def test_keeping_the_best_is_refused_where_nothing_would_tell_it(
    main: Main, model: Path, tmp_path: Path, typed: str, words: str
) -> None:
    pictures = write_pictures(tmp_path / "p", 8)
    rest = ("--model", model, "--data", pictures, "--output", tmp_path / "o", "--dry-run", "--gpu-memory", 48)

    found = main(*typed.split(), *rest, "--keep-best")

    assert found.code == 3
    assert all(part in found.stderr for part in words.split(" -> "))


def test_a_folder_of_runs_is_answered_with_their_names(main: Main, tmp_path: Path) -> None:
    kept_runs.keep(tmp_path / "there" / "cat", {"outcome": "done"})
    told = main("best", "there")

    assert told.code == 2
    assert told.stderr.endswith("it holds runs\nhint:  give one of them: there/cat\n")
