"""A run's folder: planned without a trace, then written whole."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sdxl_train_cli.dataset import sources, trainer_config
from sdxl_train_cli.dataset.folders import TrainingPictures
from sdxl_train_cli.environment.environment import Environment
from sdxl_train_cli.errors import TrainingError, UsageError
from sdxl_train_cli.gpu import Gpu
from sdxl_train_cli.recipe import Kind, Recipe
from sdxl_train_cli.recipes import presets
from sdxl_train_cli.records import runs
from sdxl_train_cli.records.record import Inputs, Outcome, Record
from sdxl_train_cli.records.runs import Run


@pytest.fixture
def recipe() -> Recipe:
    return presets.load(Kind.LORA, "dim32-gc")


@pytest.fixture
def scanned(pictures: Path) -> TrainingPictures:
    return sources.scan(pictures, regularisation=None, repeats=2, trigger=None)


@pytest.fixture
def kept(recipe: Recipe, scanned: TrainingPictures, installed: Environment, pictures: Path, tmp_path: Path) -> Record:
    inputs = Inputs(preset="dim32-gc", model="/base.safetensors", data=pictures, output=tmp_path, repeats=2)
    card = Gpu(1, "RTX 3060", 12.0, 11.5, (8, 6), "550.54.14")
    return runs.record_of(
        Run(tmp_path / "кот", "кот"),
        recipe=recipe,
        pictures=scanned,
        argv=["python", "кот"],
        environment=installed,
        inputs=inputs,
        gpu=card,
    )


def test_a_plan_leaves_no_trace(tmp_path: Path) -> None:
    run = runs.plan(tmp_path / "output", "cat")

    assert run.folder == tmp_path / "output" / "cat"
    assert run.result == run.folder / "cat.safetensors"
    assert list(tmp_path.iterdir()) == []


def test_a_taken_name_gets_a_number_in_folder_and_file(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat-2").touch()

    assert runs.plan(tmp_path, "cat").result == tmp_path / "cat-3" / "cat-3.safetensors"


@pytest.mark.parametrize("name", ["кот", "my cat", "a[1]", "it's", "-x", "猫" * 40])
def test_names_of_every_script_are_taken(tmp_path: Path, name: str) -> None:
    assert runs.plan(tmp_path, name).name == name


@pytest.mark.parametrize("name", ["", " ", ".", "..", "a/b", "a\\b", "a:b", "a\nb", "a\0b", "x" * 121, "\udcff"])
def test_a_name_that_no_file_can_have_is_refused_with_a_hint(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is not a valid run name") as raised:
        runs.plan(tmp_path, name)

    assert raised.value.problems[0].hint


def test_a_names_length_is_counted_in_bytes_as_file_systems_do(tmp_path: Path) -> None:
    """Once, 120 Cyrillic letters passed, and the first checkpoint's name of 265 bytes could not be written."""
    with pytest.raises(UsageError, match="it is 240 bytes long, and the limit is 120"):
        runs.plan(tmp_path, "ж" * 120)


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "output").touch()

    with pytest.raises(UsageError, match="is a file, not a folder"):
        runs.plan(tmp_path / "output", "cat")


def test_an_output_in_the_users_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERPROFILE" if os.name == "nt" else "HOME", str(tmp_path))

    assert runs.plan(Path("~/output"), "cat").folder == tmp_path / "output" / "cat"


def test_the_record_tells_what_was_run_with_what(
    tmp_path: Path, kept: Record, scanned: TrainingPictures, installed: Environment
) -> None:
    run = runs.plan(tmp_path, "кот")
    runs.write(run, kept, scanned)
    record = json.loads(run.record.read_text(encoding="utf-8"))

    assert record["argv"] == ["python", "кот"]
    assert record["preset"] == "dim32-gc"
    assert record["pictures"] == 3
    assert record["settings"]["network_dim"] == {"value": 32, "origin": "dim32.yaml:4"}
    assert record["environment"]["commit"] == installed.lock.commit
    (subset,) = json.loads(run.dataset_config.read_text(encoding="utf-8"))["datasets"][0]["subsets"]
    assert subset["num_repeats"] == 2
    assert not run.outcome.exists()


def test_the_record_is_read_as_it_was_written(
    tmp_path: Path, kept: Record, scanned: TrainingPictures, installed: Environment, pictures: Path
) -> None:
    run = runs.plan(tmp_path, "кот")
    runs.write(run, kept, scanned)
    record = Record.model_validate_json(run.record.read_bytes())

    assert record.name == "кот"
    assert record.inputs == kept.inputs
    assert record.gpu is not None
    assert (record.gpu.index, record.gpu.name, record.gpu.driver) == (1, "RTX 3060", "550.54.14")
    assert record.dataset is not None
    assert record.dataset.fingerprint == trainer_config.fingerprint(scanned)
    (folder,) = record.dataset.folders
    assert (folder.path, folder.pictures, folder.repeats, folder.is_reg) == (str(pictures), 3, 2, False)
    assert record.environment is not None
    assert record.environment.commit == installed.lock.commit
    assert {name: (one.value, one.origin) for name, one in record.settings.items()} == {
        name: (one.value, one.origin) for name, one in kept.settings.items()
    }


def test_a_run_on_the_processor_records_no_gpu(tmp_path: Path, kept: Record, scanned: TrainingPictures) -> None:
    run = runs.plan(tmp_path, "cat")
    runs.write(run, kept.model_copy(update={"gpu": None}), scanned)

    assert json.loads(run.record.read_text(encoding="utf-8"))["gpu"] is None


def test_a_folder_that_another_run_just_took_is_not_shared(
    tmp_path: Path, kept: Record, scanned: TrainingPictures
) -> None:
    run = runs.plan(tmp_path, "cat")
    runs.write(run, kept.model_copy(update={"argv": ("first",)}), scanned)

    with pytest.raises(TrainingError, match="another run has just taken"):
        runs.write(run, kept.model_copy(update={"argv": ("second",)}), scanned)
    assert json.loads(run.record.read_text(encoding="utf-8"))["argv"] == ["first"]


def test_an_output_that_cannot_be_written_is_told(tmp_path: Path, kept: Record, scanned: TrainingPictures) -> None:
    run = runs.plan(tmp_path / "file" / "output", "cat")
    (tmp_path / "file").touch()

    with pytest.raises(TrainingError, match="can't be written: Not a directory") as raised:
        runs.write(run, kept, scanned)
    assert "--output" in str(raised.value.problems[0].hint)


@pytest.mark.parametrize(("name", "written"), [("кот", "кот"), ("\udcff", "\\udcff")])
def test_a_name_that_is_no_text_is_kept_escaped_and_all_else_as_it_is(tmp_path: Path, name: str, written: str) -> None:
    run = Run(tmp_path, "cat")
    runs.write_outcome(run, Outcome(outcome="done", note=name))

    assert f'"{written}"' in run.outcome.read_text(encoding="utf-8")
    assert json.loads(run.outcome.read_text(encoding="utf-8"))["note"] == name
