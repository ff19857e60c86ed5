"""Runs are found and told from their folders, in whatever state these are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from kept_runs import DONE, NOBODY, US, keep, write_json

from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.records import history, run_folders, run_list
from sdxl_train_cli.records.history import RunState
from sdxl_train_cli.run import run_choices


def state(folder: Path) -> RunState:
    return history.load(folder).state


@pytest.mark.parametrize("word", ["done", "failed", "stopped"])
def test_a_run_that_ended_says_how(tmp_path: Path, word: str) -> None:
    assert state(keep(tmp_path / "cat", {"outcome": word})) is RunState(word)


def test_a_run_whose_supervisor_lives_is_running(tmp_path: Path) -> None:
    assert state(keep(tmp_path / "cat", None, supervisor=US)) is RunState.RUNNING


def test_a_run_that_was_resumed_is_running_whatever_its_last_outcome_was(tmp_path: Path) -> None:
    assert state(keep(tmp_path / "cat", {"outcome": "stopped"}, supervisor=US)) is RunState.RUNNING


@pytest.mark.parametrize("supervisor", [None, NOBODY])
def test_a_run_without_outcome_that_nobody_watches_is_interrupted(tmp_path: Path, supervisor: int | None) -> None:
    assert state(keep(tmp_path / "cat", None, supervisor)) is RunState.INTERRUPTED


def test_another_process_of_the_same_number_is_not_the_supervisor(tmp_path: Path) -> None:
    folder = keep(tmp_path / "cat", None, supervisor=US)
    write_json(folder / "running.json", {"pid": US, "created": 1000.0})

    assert state(folder) is RunState.INTERRUPTED


@pytest.mark.parametrize("pid", [-1, 0, 2**70])
def test_a_number_that_no_process_can_have_is_nobody(tmp_path: Path, pid: int) -> None:
    folder = keep(tmp_path / "cat", None)
    write_json(folder / "running.json", {"pid": pid, "created": 1000.0})

    assert state(folder) in {RunState.INTERRUPTED, RunState.BROKEN}


def test_an_older_record_lacks_what_newer_ones_tell(tmp_path: Path) -> None:
    entry = history.load(keep(tmp_path / "cat"))

    assert (entry.name, entry.record.inputs, entry.record.dataset, entry.record.gpu) == ("cat", None, None, None)


def test_a_newer_record_may_tell_more(tmp_path: Path) -> None:
    entry = history.load(keep(tmp_path / "cat", {**DONE, "mood": "good"}, weather={"rain": True}))

    assert entry.state is RunState.DONE


def test_values_come_back_as_they_were_written(tmp_path: Path) -> None:
    values = {"a": 1, "b": 1.0, "c": True, "d": "1", "e": 5e-324, "f": ["x=1", "y=2"]}
    folder = keep(tmp_path / "cat", settings={name: {"value": value, "origin": ""} for name, value in values.items()})

    settings = history.load(folder).record.settings
    assert {name: repr(setting.value) for name, setting in settings.items()} == {
        "a": "1", "b": "1.0", "c": "True", "d": "'1'", "e": "5e-324", "f": "('x=1', 'y=2')",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"sdxl_train": 3}', "\0\0\0", '{"sdxl_train": "1", "started": "?"}']
)
def test_a_broken_record_is_a_broken_run_with_a_reason(tmp_path: Path, text: str) -> None:
    folder = keep(tmp_path / "cat")
    (folder / "run.json").write_text(text, encoding="utf-8")
    (entry,) = run_list.entries(tmp_path)

    assert entry.state is RunState.BROKEN
    assert entry.name == "cat"
    assert str(entry.problem).startswith("run.json: ")
    with pytest.raises(UsageError, match=r"the record of .*cat is broken: run\.json"):
        history.require("cat", tmp_path)


@pytest.mark.parametrize("text", ["{", "{}", '{"outcome": "exploded"}', '{"outcome": "done", "steps": "many"}'])
def test_a_broken_outcome_is_told_too(tmp_path: Path, text: str) -> None:
    folder = keep(tmp_path / "cat")
    (folder / "outcome.json").write_text(text, encoding="utf-8")

    assert history.load(folder).state is RunState.BROKEN


def test_a_loss_that_is_no_number_is_read(tmp_path: Path) -> None:
    for number, loss in enumerate(('"nan"', "NaN", '"inf"', "Infinity")):
        folder = keep(tmp_path / str(number))
        (folder / "outcome.json").write_text(f'{{"outcome": "failed", "loss": {loss}}}', encoding="utf-8")

        assert str(getattr(history.load(folder).outcome, "loss", None)) == ("nan" if number < 2 else "inf")


def test_the_newest_run_comes_first(tmp_path: Path) -> None:
    keep(tmp_path / "a", started="2026-01-01T23:00:00+00:00")
    keep(tmp_path / "b", started="2026-01-02T01:00:00+03:00")
    keep(tmp_path / "c", started="2026-01-03T00:00:00+00:00")

    assert [entry.name for entry in run_list.entries(tmp_path)] == ["c", "a", "b"]


def test_what_is_no_run_is_passed_over(tmp_path: Path) -> None:
    keep(tmp_path / "cat")
    keep(tmp_path / "folder" / "deeper")
    (tmp_path / "material").mkdir()
    (tmp_path / "file").touch()

    assert [entry.name for entry in run_list.entries(tmp_path)] == ["cat"]


def test_a_folder_that_is_not_there_has_no_runs(tmp_path: Path) -> None:
    assert run_list.entries(tmp_path / "nowhere") == []


def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(UsageError, match="file can't be read"):
        run_list.entries(tmp_path / "file")


def test_a_run_is_found_by_name_by_path_and_by_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = keep(tmp_path / "output" / "мой кот")
    monkeypatch.chdir(tmp_path)
    ways = ("мой кот", "output/мой кот", f"{folder}{os.sep}", str(folder / "run.json"))

    assert {history.find(way, tmp_path / "output").folder for way in ways} == {folder}


def test_a_name_in_the_output_folder_comes_before_one_in_the_current(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(tmp_path / "cat")
    keep(tmp_path / "output" / "cat")
    monkeypatch.chdir(tmp_path)

    assert history.find("cat", tmp_path / "output").folder == tmp_path / "output" / "cat"


def test_a_misspelt_name_is_answered_with_those_that_resemble_it(tmp_path: Path) -> None:
    keep(tmp_path / "my-cat")
    keep(tmp_path / "dog")

    with pytest.raises(UsageError, match="no run 'my-cta'") as caught:
        history.find("my-cta", tmp_path)
    assert caught.value.problems[0].hint == "did you mean my-cat?"
    with pytest.raises(UsageError, match="no run 'zzz'"):
        history.find("zzz", tmp_path / "nowhere")
    with pytest.raises(UsageError, match="no run ''"):
        history.find("", tmp_path)


def test_a_folder_without_a_record_is_no_runs(tmp_path: Path) -> None:
    (tmp_path / "material").mkdir()

    with pytest.raises(UsageError, match=r"is not a run's folder: it has no run\.json"):
        history.find("material", tmp_path)


def hint_for(text: str, output: Path, given: Path | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        history.find(text, output, given)
    return f"{caught.value.problems[0].message}; {caught.value.problems[0].hint}"


def test_who_names_a_folder_of_runs_is_told_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cat", "my dog"):
        keep(tmp_path / "there" / "output" / name)
    told = "is not a run's folder: it holds runs; give one of them: there/output/cat, 'there/output/my dog'"

    assert hint_for("there/output", tmp_path / "output").endswith(told)
    assert hint_for("there", tmp_path / "output").endswith(told)


def test_a_run_that_is_not_there_is_answered_with_those_that_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "output"
    none, then = f"no run 'cat' in {output}", "give the run's folder: output/NAME"
    assert hint_for("cat", output) == f"{none}, which does not exist; {then}"
    output.mkdir()
    assert hint_for("cat", output) == f"{none}, which has no runs; {then}"
    keep(tmp_path / "there" / "cat")
    assert hint_for("cat", output, tmp_path / "there").endswith("; give the run's folder: there/cat")
    for number in range(6):
        keep(output / f"bird{number}")
    named = ", ".join(f"output/bird{number}" for number in range(5))
    assert hint_for("cat", output) == f"{none}; give one of them: {named} and 1 more"


def test_runs_are_looked_for_where_they_are_made() -> None:
    assert run_folders.USUAL_OUTPUT == run_choices.DEFAULT_OUTPUT


def test_a_record_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    folder = keep(tmp_path / "cat")
    (folder / "outcome.json").unlink()
    (folder / "outcome.json").mkdir()

    entry = history.load(folder)
    assert entry.state is RunState.BROKEN
    assert "outcome.json" in str(entry.problem)
    assert json.loads((folder / "run.json").read_text(encoding="utf-8"))["kind"] == "lora"


def test_a_path_that_is_no_utf8_does_not_break_its_record(tmp_path: Path) -> None:
    """Python writes such a name with half a letter, which no strict reader of JSON takes."""
    folder = keep(tmp_path / "cat")
    record = {"sdxl_train": "1", "name": "кот 🐈", "argv": ["/pictures/\udcff"]}
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")

    entry = history.load(folder)
    assert (entry.state, entry.name, entry.record.argv) == (RunState.DONE, "кот 🐈", ("/pictures/?",))
