"""Two runs side by side tell what differs, and nothing else."""

from __future__ import annotations

from pathlib import Path

from kept_runs import DONE, SETTINGS, keep

from sdxl_train_cli.records import comparison, history
from sdxl_train_cli.records.comparison import RunDifference

DATASET = {"fingerprint": "f1", "folders": [{"path": "/cats", "pictures": 3, "repeats": 2}]}


def found(left: Path, right: Path) -> list[RunDifference]:
    return comparison.differences(history.load(left), history.load(right))


def test_equal_runs_differ_in_nothing(tmp_path: Path) -> None:
    nan = {**DONE, "loss": "nan"}

    assert found(keep(tmp_path / "a", nan), keep(tmp_path / "b", nan, started="2026-05-05T00:00:00Z")) == []


def test_settings_data_environment_gpu_and_results_are_compared(tmp_path: Path) -> None:
    left = keep(tmp_path / "a", dataset=DATASET, gpu={"index": 0, "name": "RTX 3060", "driver": "550"})
    right = keep(
        tmp_path / "b",
        {**DONE, "outcome": "failed", "loss": 0.5, "cause": "out of memory"},
        settings={
            **SETTINGS,
            "network_dim": {"value": 64, "origin": "--set"},
            "seed": {"value": 0, "origin": "--seed"},
        },
        dataset={"fingerprint": "f2", "folders": [{"path": "/cats", "pictures": 4, "repeats": 2}]},
        environment={"commit": "c0ffee" * 6, "ref": "v0.10.1", "packages": {"torch": "2.7.0"}},
        gpu={"index": 0, "name": "RTX 4090", "driver": "550"},
    )

    assert found(left, right) == [
        RunDifference("setting", "network_dim", 32, 64),
        RunDifference("setting", "seed", None, 0),
        RunDifference("data", "fingerprint", "f1", "f2"),
        RunDifference("data", "/cats: pictures", 3, 4),
        RunDifference("environment", "torch", "2.6.0", "2.7.0"),
        RunDifference("gpu", "name", "RTX 3060", "RTX 4090"),
        RunDifference("result", "state", "done", "failed"),
        RunDifference("result", "loss", 0.125, 0.5),
        RunDifference("result", "cause", None, "out of memory"),
    ]


def test_what_was_chosen_is_compared_but_for_where_it_went(tmp_path: Path) -> None:
    inputs = {"preset": "dim32-gc", "model": "/a.safetensors", "data": "/cats", "output": "/one", "trigger": "ohwx"}
    left = keep(tmp_path / "a", inputs=inputs)
    right = keep(tmp_path / "b", inputs={**inputs, "model": "/b.safetensors", "output": "/two", "trigger": None})

    assert found(left, right) == [
        RunDifference("input", "model", "/a.safetensors", "/b.safetensors"),
        RunDifference("input", "trigger", "ohwx", None),
    ]


def test_a_setting_that_is_the_same_number_in_another_form_does_not_differ(tmp_path: Path) -> None:
    left = keep(tmp_path / "a", settings={"max_grad_norm": {"value": 1, "origin": ""}})
    right = keep(tmp_path / "b", settings={"max_grad_norm": {"value": 1.0, "origin": ""}})

    assert found(left, right) == []


def test_facts_are_written_as_people_read_them() -> None:
    facts = (None, True, 0, 1e-4, "x", ("a=1", "b=2"))

    assert [comparison.text(fact) for fact in facts] == ["-", "true", "0", "0.0001", "x", "a=1 b=2"]
