"""A run that was cut off after its last step is finished without its trainer."""

from __future__ import annotations

from pathlib import Path

from conftest import Cli

from sdxl_train_cli.records import history
from sdxl_train_cli.records.history import RunState
from sdxl_train_cli.run import resuming


def test_a_run_cut_off_after_its_last_step_is_finished_from_its_last_checkpoint(
    cli: Cli, tmp_path: Path, model: Path, pictures: Path
) -> None:
    typed = ["lora", "--model", model, "--data", pictures, "--no-vram-check", "--name", "cat", "--steps", "10",
             "--set", "save_every_n_steps=5"]  # fmt: skip
    assert cli(*typed).code == 0
    folder = tmp_path / "output" / "cat"
    result, last = folder / "cat.safetensors", folder / "cat-step00000010.safetensors"
    before = history.load(folder).outcome
    (folder / "outcome.json").unlink()
    result.write_bytes(result.read_bytes()[:1000])  # the kill came while it was written

    resumed = cli("runs", "resume", "cat")

    assert (resumed.code, resumed.path) == (0, result), resumed.stderr
    entry = history.load(folder)
    assert (entry.state, entry.outcome and entry.outcome.steps) == (RunState.DONE, 10)
    assert entry.outcome is not None
    assert before is not None
    assert entry.outcome.loss == before.loss
    assert result.read_bytes() == last.read_bytes()
    assert entry.record.attempts == ()  # nothing was trained

    for path in (folder / "outcome.json", result, last):
        path.unlink()
    assert not resuming.is_possible(history.load(folder))  # its only state leaves no step to make: a job starts anew
