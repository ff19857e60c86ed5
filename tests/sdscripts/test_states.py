"""States for resuming: whole ones are found with their step, half-written ones are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from kept_runs import write_state

from sdxl_train_cli.sdscripts import states

PARTS = ("optimizer.bin", "scheduler.bin", "random_states_0.pkl")


def state(run: Path, name: str, step: int) -> Path:
    return write_state(run / name, step)


def test_the_furthest_state_is_the_last_whatever_its_name(tmp_path: Path) -> None:
    furthest = state(tmp_path, "my-000001-state", 12)
    state(tmp_path, "my-step00000010-state", 10)
    (tmp_path / "notes-state").write_text("a file")

    assert [found.step for found in states.complete(tmp_path)] == [10, 12]
    assert states.complete(tmp_path)[-1].folder == furthest


@pytest.mark.parametrize("part", [*PARTS, "model.safetensors", "train_state.json"])
@pytest.mark.parametrize("how", ["absent", "empty"])
def test_a_state_that_was_cut_off_is_none(tmp_path: Path, part: str, how: str) -> None:
    folder = state(tmp_path, "my-state", 5)
    if how == "absent":
        (folder / part).unlink()
    else:
        (folder / part).write_bytes(b"")

    assert states.complete(tmp_path) == []


def test_a_state_without_its_count_is_known_by_a_steps_name_alone(tmp_path: Path) -> None:
    """sdxl_train.py alone writes no count."""
    for name in ("my-step00000800-state", "my-000003-state", "my-state"):
        (state(tmp_path, name, 5) / "train_state.json").unlink()

    assert [(found.folder.name, found.step) for found in states.complete(tmp_path)] == [("my-step00000800-state", 800)]


def test_weights_that_end_too_early_are_no_state(tmp_path: Path) -> None:
    weights = state(tmp_path, "my-state", 5) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-2])

    assert states.complete(tmp_path) == []


def test_pruning_keeps_the_one_of_the_runs_end(tmp_path: Path) -> None:
    last = state(tmp_path, "my-state", 12)
    state(tmp_path, "my-step00000012-state", 12)
    state(tmp_path, "my-000001-state", 6)
    (tmp_path / "my-state.part").mkdir()  # cut off while it was saved

    states.prune(tmp_path, "my")

    assert [found.folder for found in states.complete(tmp_path)] == [last]
    assert [path.name for path in tmp_path.iterdir()] == ["my-state"]


@pytest.mark.parametrize("name", ["my-best-state", "copy of my-state", "my-step00000006-state.kept-state"])
def test_pruning_leaves_what_somebody_has_put_there(tmp_path: Path, name: str) -> None:
    state(tmp_path, "my-state", 12)
    kept = state(tmp_path, name, 6)
    state(tmp_path, "my-000001-state", 6)

    states.prune(tmp_path, "my")

    assert kept.is_dir()
    assert not (tmp_path / "my-000001-state").exists()
