"""Only what is clearly worse is deleted, and nothing that is not the run's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import validated_runs
from test_checkpoint_verdict import STEPS, by_step

from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.ranking import keeping
from sdxl_train_cli.records import run_owner


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = validated_runs.write_run(tmp_path / "cat", STEPS)
    validated_runs.write_losses(folder, STEPS, by_step(0.30, 0.25, 0.27, 0.29, 0.31))
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.safetensors"))


def test_the_best_and_the_final_file_stay(run: Path) -> None:
    validated_runs.write_network(run / "dog-step00000100.safetensors", 100, "dog")

    lines = keeping.keep_best(run).lines

    assert names(run) == ["cat-step00000200.safetensors", "cat.safetensors", "dog-step00000100.safetensors"]
    assert lines[0] == "best checkpoint: cat-step00000200.safetensors (step 200), strength 1 to begin with"
    assert "deleted as clearly worse: cat-step00000100.safetensors, cat-step00000300.safetensors" in lines[1]


def test_nothing_is_deleted_where_nothing_is_clearly_worse(run: Path) -> None:
    validated_runs.write_losses(run, STEPS, lambda number, step: 0.3 + 0.05 * ((number * 7 + step // 100 * 3) % 5))

    assert "deleted nothing" in keeping.keep_best(run).lines[1]
    assert len(names(run)) == len(STEPS)


def test_nothing_is_deleted_without_a_validation(run: Path) -> None:
    (run / "validation.jsonl").unlink()

    assert "deleted nothing" in keeping.keep_best(run).lines[1]
    assert len(names(run)) == len(STEPS)


def test_a_link_is_not_followed(run: Path, tmp_path: Path) -> None:
    kept = validated_runs.write_network(tmp_path / "mine.safetensors", 300, "cat")
    (run / "cat-step00000300.safetensors").unlink()
    (run / "cat-step00000300.safetensors").symlink_to(kept)

    keeping.keep_best(run)

    assert kept.is_file()
    assert (run / "cat-step00000300.safetensors").is_symlink()


def test_a_run_in_use_is_left_alone(run: Path) -> None:
    with run_owner.hold(run), pytest.raises(UsageError):
        keeping.keep_best(run)

    assert len(names(run)) == len(STEPS)
