"""A broken file of one task of a cluster hides no other task."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sdxl_train_cli.cluster import batch, overview, submitting, task_index
from sdxl_train_cli.cluster.overview import TaskState
from sdxl_train_cli.cluster.task_folder import TaskEnd
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.jobs.job import JobState, Waiting


@pytest.mark.parametrize("text", [None, "", '{"tok', "[1]", '{"token": 3}'])
def test_a_task_that_can_not_be_read_is_listed_as_such(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no Slurm
    points = [Waiting(name=f"cat{number}", kind="lora", preset="gc", record="{}") for number in range(3)]
    (folder,) = batch.new_folders(tmp_path / "cluster", 1)
    made = batch.create(folder, points, lambda _one: "", is_array=True)
    made.note_job("12")
    for index, state in enumerate((JobState.DONE, JobState.FAILED)):
        made.task(index).note_end(TaskEnd(state, 7 * index))
    for index in (1, 2):
        broken = made.task(index).folder / "task.json"
        broken.unlink()
        if text is not None:
            broken.write_text(text, encoding="utf-8")

    for _ in ("read", "remembered"):
        found = [(view.job, view.task.name, view.state) for view in overview.views(folder.parent)]
        assert found == [("12_0", "cat0", TaskState.DONE), ("12_1", "unreadable", TaskState.FAILED),
                         ("12_2", "unreadable", TaskState.UNKNOWN)]  # fmt: skip
    assert [task.name for _, task in task_index.each_open(folder.parent)] == ["unreadable"]
    with pytest.raises(UsageError, match="no task of a cluster"):
        submitting.retry(made, [1])
    shutil.rmtree(folder / "tasks")
    assert overview.views(folder.parent) == []
