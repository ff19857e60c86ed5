"""What a run's folder tells is gathered whole: curves, samples, checkpoints, settings, data."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from kept_runs import US, draw_samples, keep, keep_with_files

from sdxl_train_cli.records import history
from sdxl_train_cli.ui import run_page_data
from sdxl_train_cli.ui.run_page import RunPage


def gathered(folder: Path) -> RunPage:
    return run_page_data.gather(history.load(folder), "python train.py")


def tables(found: RunPage) -> dict[str, tuple[tuple[str, ...], ...]]:
    return {table.title: table.rows for table in found.tables}


def test_checkpoints_are_shown_with_size_and_checksum(tmp_path: Path) -> None:
    folder = keep_with_files(tmp_path / "cat")
    content = (folder / "cat.safetensors").read_bytes()

    assert tables(gathered(folder))["Checkpoints"][-1] == (
        "cat.safetensors", "final", f"{len(content)} B", hashlib.sha256(content).hexdigest(),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("supervisor", "word"), [(None, "incomplete"), (US, "being written")], ids=["ended", "running"]
)
def test_a_checkpoint_that_is_not_whole_has_no_checksum(tmp_path: Path, supervisor: int | None, word: str) -> None:
    folder = keep_with_files(tmp_path / "cat", supervisor=supervisor)
    with (folder / "cat.safetensors").open("ab") as file:
        file.truncate(20)

    assert tables(gathered(folder))["Checkpoints"][-1][-1] == word


def test_settings_come_with_their_origins_and_data_with_its_facts(tmp_path: Path) -> None:
    subset = {"path": "/коты/10_cat", "pictures": 3, "repeats": 10, "class_tokens": "ohwx cat"}
    found = gathered(keep(tmp_path / "cat", dataset={"fingerprint": "f1", "folders": [subset]}))

    assert ("network_dim", "32", "dim32.yaml:4") in tables(found)["Settings"]
    assert tables(found)["Data"] == (("/коты/10_cat", "3", "10", "ohwx cat", "training"),)
    assert next(table.note for table in found.tables if table.title == "Data").endswith("f1")


def test_what_was_found_in_the_files_is_on_the_page(tmp_path: Path) -> None:
    finding = {"trouble": "unmoved", "message": "not one weight has changed", "is_fatal": False}
    examined = [{"file": "cat.safetensors", "step": 6, "summary": "learned: all", "findings": [finding]}]
    found = gathered(keep(tmp_path / "cat", {"outcome": "done", "examined": examined}))

    assert tables(found)["Examined"] == (("cat.safetensors", "learned: all"), ("", "not one weight has changed"))


def test_a_failed_run_tells_its_cause_and_remedy(tmp_path: Path) -> None:
    found = gathered(
        keep(tmp_path / "cat", {"outcome": "failed", "cause": "out of memory", "remedy": "--batch-size 1"})
    )

    assert (found.state, found.cause, found.remedy) == ("failed", "out of memory", "--batch-size 1")


def test_an_older_run_without_metrics_and_samples_says_so(tmp_path: Path) -> None:
    found = gathered(keep(tmp_path / "cat"))

    assert "has no metrics" in found.curves_note
    assert found.samples.pictures == ()


def test_samples_stand_by_moment_and_prompt(tmp_path: Path) -> None:
    lines = ("# mine", "a cat --n bad", "", "мой кот")
    (tmp_path / "prompts.txt").write_text("\n".join(lines), encoding="utf-8")
    prompts = {"sample_prompts": {"value": str(tmp_path / "prompts.txt"), "origin": "--set"}}
    folder = keep(tmp_path / "cat", settings=prompts)
    draw_samples(folder, "000003_00_20260102030401", "000003_02_20260102030402", "e000001_01_20260102030403")
    samples = gathered(folder).samples

    assert samples.moments == ("step 3", "epoch 1")
    assert samples.prompts == ("a cat", "мой кот", "prompt 3")
    assert samples.note == "The prompts are those in the prompts file now."
    assert {(one.moment, one.prompt) for one in samples.pictures} == {("step 3", 0), ("step 3", 2), ("epoch 1", 1)}


def test_too_many_samples_are_left_out_evenly_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = keep(tmp_path / "cat")
    draw_samples(folder, *(f"{step:06}_00_{20260102000000 + step}" for step in range(1, 18)))
    one = len(gathered(folder).samples.pictures[0].source)
    monkeypatch.setattr(run_page_data, "PICTURES_BYTES", int(4.5 * one))
    samples = gathered(folder).samples

    assert samples.moments == ("step 1", "step 5", "step 9", "step 13", "step 17")
    assert samples.note.startswith("12 of 17 pictures are left out")


def test_a_broken_sample_is_told(tmp_path: Path) -> None:
    folder = keep(tmp_path / "cat")
    draw_samples(folder, "000003_00_20260102030401")
    (folder / "sample" / "cat_000006_00_20260102030402.png").write_bytes(b"\x89PNG")

    assert gathered(folder).samples.note == "Unreadable pictures: 1."
