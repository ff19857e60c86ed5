"""What a run has made is told by the names that sd-scripts gives."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from kept_runs import keep_with_files

from sdxl_train_cli.sdscripts import results


def test_checkpoints_are_told_with_their_moment_the_final_one_last(tmp_path: Path) -> None:
    folder = keep_with_files(tmp_path / "кот [1]")

    found = results.checkpoints(folder, "кот [1]")
    assert [(made.path.name, made.moment) for made in found] == [
        ("кот [1]-000001.safetensors", "epoch 1"),
        ("кот [1]-step00000003.safetensors", "step 3"),
        ("кот [1].safetensors", "final"),
    ]
    assert all(made.is_whole and made.size_bytes == made.path.stat().st_size for made in found)


@pytest.mark.parametrize(
    "name", ["cat-2.safetensors", "cats.safetensors", "cat-step3.safetensors", "cat-000001.txt", "cat.safetensors.old"]
)
def test_other_files_are_no_checkpoints(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()

    assert results.checkpoints(tmp_path, "cat") == []


def test_a_checkpoint_that_is_cut_off_is_told(tmp_path: Path) -> None:
    folder = keep_with_files(tmp_path / "cat")
    path = folder / "cat.safetensors"
    path.write_bytes(path.read_bytes()[:-1])

    assert [made.is_whole for made in results.checkpoints(folder, "cat")] == [True, True, False]


def test_states_come_oldest_first(tmp_path: Path) -> None:
    folder = keep_with_files(tmp_path / "cat")
    (folder / "other-state").mkdir()
    os.utime(folder / "cat-state", (1, 1))

    assert [path.name for path in results.states(folder, "cat")] == ["cat-state", "cat-000001-state"]


def test_samples_of_epochs_and_steps_come_in_the_order_in_which_they_were_made(tmp_path: Path) -> None:
    (tmp_path / "sample").mkdir()
    names = ("cat_e000001_01_20260102030405", "cat_e000001_00_20260102030404_42", "cat_000003_00_20260102030505",
             "dog_000003_00_20260102030505", "cat_3_00_20260102030505")  # fmt: skip
    for name in names:
        (tmp_path / "sample" / f"{name}.png").touch()

    assert [(sample.moment, sample.prompt) for sample in results.samples(tmp_path, "cat")] == [
        ("epoch 1", 0), ("epoch 1", 1), ("step 3", 0),
    ]  # fmt: skip


def test_a_checksum_is_that_of_the_whole_file(tmp_path: Path) -> None:
    content = os.urandom(2_500_000)
    (tmp_path / "file").write_bytes(content)

    assert results.sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()
