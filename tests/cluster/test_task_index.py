"""Tasks of a cluster that have ended are read once, and are live again as soon as they are started again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from sdxl_train_cli import files, layout
from sdxl_train_cli.cluster import batch, overview, task_index
from sdxl_train_cli.cluster.batch import Batch
from sdxl_train_cli.cluster.overview import TaskState
from sdxl_train_cli.cluster.task_folder import TaskEnd, TaskStart
from sdxl_train_cli.commands.cluster import listing
from sdxl_train_cli.jobs.job import JobState, Waiting
from sdxl_train_cli.records import ended_index


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """Three trainings without a Slurm, of which two have ended."""
    monkeypatch.setenv("PATH", str(tmp_path))
    points = [Waiting(name=f"cat{number}", kind="lora", preset="gc", record="{}") for number in range(3)]
    (folder,) = batch.new_folders(tmp_path / "cluster", 1)
    found = batch.create(folder, points, lambda one: f"# {one.folder}\n", is_array=True)
    found.note_job("12")
    for index, state in enumerate((JobState.DONE, JobState.FAILED)):
        found.task(index).note_run(tmp_path / f"run{index}")
        found.task(index).note_start(TaskStart(2, 5, 0))
        found.task(index).note_end(TaskEnd(state, 7 * index, "no pictures" if index else None))
    return found


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read from now on."""
    found, read = list[str](), files.read_json

    def noted(path: Path) -> object:
        found.append(f"{path.parent.name}/{path.name}")
        return read(path)

    monkeypatch.setattr(files, "read_json", noted)
    return found


def told(made: Batch) -> list[object]:
    views = overview.views(made.folder.parent)
    return [(one.job, one.state, one.detail, one.task.run, one.task.start, one.task.token) for one in views]


def states(made: Batch) -> list[TaskState]:
    return [view.state for view in overview.views(made.folder.parent)]


def test_what_has_ended_is_read_once(made: Batch, opened: list[str]) -> None:
    first = told(made)
    assert "0/task.json" in opened
    opened.clear()

    assert told(made) == first
    assert {name.partition("/")[0] for name in opened} == {"2", made.folder.name}


def test_of_what_has_ended_a_list_of_runs_reads_nothing(made: Batch, opened: list[str]) -> None:
    assert overview.waiting(made.folder.parent) == []
    assert {name.partition("/")[0] for name in opened} == {"2", made.folder.name}


def test_a_task_that_is_started_again_is_live_again(made: Batch) -> None:
    assert states(made) == [TaskState.DONE, TaskState.FAILED, TaskState.UNKNOWN]

    made.task(1).note_start(TaskStart(3, 5, 0))
    assert states(made)[1] is TaskState.UNKNOWN
    made.task(1).note_end(TaskEnd(JobState.DONE, 0))
    assert states(made) == [TaskState.DONE, TaskState.DONE, TaskState.UNKNOWN]


def test_of_many_that_have_ended_the_last_are_shown(made: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_MOST_ENDED", 1)
    views = overview.views(made.folder.parent)

    assert [view.task.name for view in listing._shown(views, is_whole=False)] == ["cat1", "cat2"]  # noqa: SLF001 - rows
    assert listing._shown(views, is_whole=True) == views  # noqa: SLF001 - as above


def test_a_removed_submission_is_forgotten(made: Batch) -> None:
    place = made.folder.parent
    assert len(overview.views(place)) == 3
    shutil.rmtree(made.folder)

    assert overview.views(place) == []
    assert ended_index.load(place, "task") == {}


@pytest.mark.parametrize("facts", [[], [1, 2, 3, 4], [{}, ["done", 0, None], None, None]])
def test_a_damaged_index_is_not_believed(made: Batch, facts: list[object]) -> None:
    first = states(made)
    place = made.folder.parent
    rows = [row._replace(facts=facts) for row in ended_index.load(place, "task").values()]
    ended_index.keep(place, rows, what="task")
    assert states(made) == first

    (layout.cache_folder(os.environ) / ended_index.NAME).write_bytes(b"no database" * 99)
    assert states(made) == first


def test_what_is_remembered_leaves_the_record_out(made: Batch) -> None:
    task_index.each(made.folder.parent)

    assert [task.kept.record for _, task in task_index.each(made.folder.parent)] == ["", "", "{}"]
    assert json.loads(made.task(0).kept.record) == {}
