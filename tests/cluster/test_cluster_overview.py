"""What is told of submitted trainings, without a Slurm: its commands are scripts that print what it would."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import slurm_commands
from conftest import Result
from slurm_commands import Say

from sdxl_train_cli.cluster import batch, carrying, overview, slurm, submitting
from sdxl_train_cli.cluster.batch import Batch
from sdxl_train_cli.cluster.overview import TaskState
from sdxl_train_cli.cluster.settings import ClusterSettings
from sdxl_train_cli.cluster.slurm import SlurmError
from sdxl_train_cli.cluster.task_folder import TaskEnd, TaskStart
from sdxl_train_cli.errors import UsageError
from sdxl_train_cli.jobs import starting
from sdxl_train_cli.jobs.job import JobState, Waiting
from sdxl_train_cli.jobs.starting import JobActions
from sdxl_train_cli.records import history, run_list, run_owner
from sdxl_train_cli.records.history import RunState
from sdxl_train_cli.records.run_owner import Liveness
from sdxl_train_cli.run.training import PrunedError

OFF = "echo 'Slurm accounting storage is disabled' >&2; exit 1"


@pytest.fixture
def say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """Make a command of Slurm that runs this shell code."""
    write = slurm_commands.on_path(tmp_path, monkeypatch)
    write("sacct", OFF)
    write("squeue", "true")
    return write


@pytest.fixture
def made(tmp_path: Path) -> Batch:
    """Three submitted trainings."""
    record = json.dumps({"inputs": {"output": str(tmp_path / "output")}})
    points = [Waiting(name=f"cat{number}", kind="lora", preset="gc", record=record) for number in range(3)]
    (folder,) = batch.new_folders(tmp_path / "cluster", 1)
    found = batch.create(folder, points, lambda one: f"# {one.folder}\n", is_array=True)
    assert [task.token for task in found.tasks()] == [point.token for point in points]
    found.note_job("12")
    return found


def told(made: Batch) -> list[tuple[TaskState, str]]:
    return [(view.state, view.detail or view.node) for view in overview.views(made.folder.parent)]


def test_what_has_ended_is_told_by_its_folder_and_the_rest_by_the_queue(made: Batch, say: Say) -> None:
    made.task(0).note_end(TaskEnd(JobState.FAILED, 7, "no pictures"))
    say("squeue", "echo '12_1|RUNNING|None|n7'; echo '12_2|PENDING|Priority|'; echo '9_1|RUNNING|None|n1'")

    assert told(made) == [
        (TaskState.FAILED, "no pictures"),
        (TaskState.RUNNING, "n7"),
        (TaskState.PENDING, "Priority"),
    ]


def test_what_slurm_ended_is_explained_by_accounting(made: Batch, say: Say) -> None:
    say("sacct", "echo '12_0|TIMEOUT|n1'; echo '12_1|OUT_OF_MEMORY|n1'; echo '12_2|CANCELLED by 1000|n1'")

    states = told(made)

    assert [state for state, _ in states] == [TaskState.FAILED, TaskState.FAILED, TaskState.STOPPED]
    assert "time was up" in states[0][1]
    assert "main memory" in states[1][1]


def test_without_accounting_the_controller_is_asked(made: Batch, say: Say) -> None:
    say("scontrol", "echo 'JobId=14 ArrayJobId=12 ArrayTaskId=0 JobState=NODE_FAIL Reason=None NodeList=n1'")

    assert told(made)[0] == (TaskState.FAILED, "the node failed")
    assert told(made)[1] == (TaskState.STOPPED, "it was cancelled before it started: Slurm no longer has it")


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("sacct", "12_[0-1%2]|CANCELLED by 0|None assigned"),
        ("sacct", "12_[0,1%1]|CANCELLED|"),
        ("scontrol", "JobId=12 ArrayJobId=12 ArrayTaskId=0-1%2 JobState=CANCELLED Reason=None NodeList=(null)"),
    ],
)
def test_elements_that_were_cancelled_together_before_they_ran_are_told_apart(
    made: Batch, say: Say, command: str, answer: str
) -> None:
    say(command, f"echo '{answer}'")

    assert [state for state, _ in told(made)] == [TaskState.STOPPED] * 3
    assert [detail for _, detail in told(made)][:2] == ["the job was cancelled"] * 2
    assert told(made)[2][1] == "it was cancelled before it started: Slurm no longer has it"


def test_of_what_slurm_has_forgotten_its_folder_tells_the_end(made: Batch, say: Say, tmp_path: Path) -> None:
    say("scontrol", "exit 1")
    cut_off, ended, early = made.tasks()
    for task, outcome in ((cut_off, None), (ended, "done")):
        run = tmp_path / task.name
        run.mkdir()
        (run / "run.json").write_text(json.dumps({"sdxl_train": "1", "kind": "lora"}), encoding="utf-8")
        if outcome:
            (run / "outcome.json").write_text(json.dumps({"outcome": outcome, "ended": "2026-11-01T00:00:00Z"}))
        task.note_run(run)
        task.note_start(TaskStart(starts=1, step=0, stalls=0))
    early.output.write_text("python: not found\n", encoding="utf-8")

    assert told(made) == [
        (TaskState.STOPPED, "it was cut off, and Slurm has forgotten why"),
        (TaskState.DONE, ""),
        (TaskState.FAILED, "it ended before it began to train"),
    ]


def test_a_run_that_was_asked_to_stop_has_not_failed(made: Batch, say: Say, tmp_path: Path) -> None:
    """Slurm calls it so for a moment, while it puts the job back into its queue."""
    (tmp_path / "run.json").write_text(json.dumps({"sdxl_train": "1", "kind": "lora"}), encoding="utf-8")
    (tmp_path / "outcome.json").write_text(json.dumps({"outcome": "stopped", "ended": "2026-11-01T00:00:00Z"}))
    made.task(0).note_run(tmp_path)
    say("sacct", "echo '12_0|FAILED|n1'; echo '12_1|COMPLETED|n1'; echo '12_2|FAILED|n1'")

    assert [state for state, _ in told(made)] == [TaskState.STOPPED, TaskState.UNKNOWN, TaskState.FAILED]


def test_accounting_is_read_as_sacct_writes_it(say: Say) -> None:
    """As sacct 22.05 printed rows that slurmdbd was given: an array, cancelled elements, a job that was requeued."""
    say(
        "sacct",
        """cat <<'END'
100_0|COMPLETED|n1
100_1|CANCELLED by 1000|n1
100_3|TIMEOUT|n1
100_4|NODE_FAIL|n1
100_5|PREEMPTED|n1
100_8|OUT_OF_MEMORY|n[1-2]
200_[0-2,7]|CANCELLED by 0|None assigned
300|PENDING|None assigned
END""",
    )

    found = slurm.jobs(["100", "200", "300"])

    assert {each: (one.state, one.node) for each, one in found.items()} == {
        "100_0": ("COMPLETED", "n1"), "100_1": ("CANCELLED", "n1"), "100_3": ("TIMEOUT", "n1"),
        "100_4": ("NODE_FAIL", "n1"), "100_5": ("PREEMPTED", "n1"), "100_8": ("OUT_OF_MEMORY", "n[1-2]"),
        **{f"200_{element}": ("CANCELLED", "") for element in (0, 1, 2, 7)}, "300": ("PENDING", ""),
    }  # fmt: skip


def test_without_slurm_nothing_is_claimed(made: Batch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert told(made)[0] == (TaskState.UNKNOWN, "Slurm does not answer here")
    with pytest.raises(SlurmError, match="sbatch is not here"):
        slurm.submit(made.script)


def test_an_unfinished_submission_is_not_listed(made: Batch) -> None:
    (made.folder / "submitted.json").unlink()

    assert overview.views(made.folder.parent) == []


def test_starts_are_counted_until_one_comes_further(made: Batch) -> None:
    task = made.task(0)
    task.note_start(TaskStart(starts=3, step=40, stalls=2))
    task.forget_stalls()

    assert task.start == TaskStart(starts=3, step=40, stalls=0)


def test_an_element_that_runs_keeps_its_job_while_another_is_submitted_again(made: Batch, say: Say) -> None:
    say("sbatch", "echo 13")
    say("squeue", "echo '12_0|RUNNING|None|n1'; echo '13_1|PENDING|Priority|'")

    assert submitting.retry(made, [1]) == "13"

    assert [made.id_of(task) for task in made.tasks()] == ["12_0", "13_1", "12_2"]
    assert told(made)[:2] == [(TaskState.RUNNING, "n1"), (TaskState.PENDING, "Priority")]


def test_a_point_that_was_stopped_early_is_not_submitted_again_with_its_array(
    made: Batch, say: Say, main: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def prune(*_given: object) -> None:
        made.task(0).note_run(made.folder / "run")
        raise PrunedError("pruned at step 5")

    said = list[str]()
    actions = JobActions(start=prune, resume=prune, say=said.append)
    monkeypatch.setattr(starting, "go_on", prune)
    carrying.carry_out(made, made.task(0), made.folder, actions)
    say("squeue", "true")
    say("sbatch", f'echo "$@" > {made.folder}/given; echo 13')

    assert told(made)[0] == (TaskState.STOPPED, "pruned at step 5")
    assert said == ["pruned at step 5"]
    assert main("cluster", "retry", "12", "--home", made.folder.parents[1]).stdout == "13\n"
    assert "--array=1,2 " in (made.folder / "given").read_text(encoding="utf-8")


def test_some_tasks_are_found_by_token(made: Batch, say: Say) -> None:
    say("squeue", "echo '12_1|RUNNING|None|n7'")
    token = made.task(1).token

    assert {key: view.node for key, view in overview.with_tokens(made.folder.parent, [token]).items()} == {token: "n7"}
    assert overview.with_tokens(made.folder.parent, []) == {}
    (made.folder / "submitted.json").unlink()
    assert batch.with_tokens(made.folder.parent, [token]) == {token: made}
    assert not batch.with_tokens(made.folder.parent, ["another"])


@pytest.mark.parametrize(
    ("gpus", "gres"),
    [("1", "gpu:4"), ("8", "gpu:4"), ("gpu:a100:1", "gpu:a100:4"), ("gpu:a100", "gpu:a100:4"), ("gpu:2", "gpu:4")],
)
def test_a_node_is_asked_for_as_many_gpus_as_train(gpus: str, gres: str) -> None:
    assert ClusterSettings(home="/h", gpus=gpus).with_gpus(4).gres == gres


@pytest.mark.parametrize("gpus", ["0", "gpu:a100:1,shard:2", "license:1"])
def test_gpus_that_cannot_be_raised_are_refused_with_a_command_that_can(gpus: str) -> None:
    with pytest.raises(UsageError) as refused:
        ClusterSettings(home="/h", gpus=gpus).with_gpus(2)

    assert refused.value.problems[0].hint == "sdxl-train cluster init --gpus 2"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that a job on another node was last seen with, whose lock this computer does not see."""
    folder = tmp_path / "output" / "cat"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"sdxl_train": "1", "kind": "lora"}), encoding="utf-8")
    (folder / "running.lock").touch()
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    note = run_owner.current_process(is_locked=True)
    assert note.slurm == "12"
    other = note.model_copy(update={"host": "n7", "boot": "another"})
    (folder / "running.json").write_text(other.model_dump_json(), encoding="utf-8")
    return folder


def test_a_run_on_another_node_is_not_called_dead(elsewhere: Path) -> None:
    """Even on a drive of this computer, where a node's lock through the network can't be seen."""
    (entry,) = run_list.entries(elsewhere.parent)

    assert entry.state is RunState.UNKNOWN
    assert run_owner.liveness(elsewhere, None) is Liveness.GONE


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("12|RUNNING|None|n7", RunState.RUNNING),
        ("", RunState.INTERRUPTED),
        ("12|PENDING|Priority|", RunState.INTERRUPTED),
    ],
)
def test_slurm_says_whether_it_still_runs(elsewhere: Path, say: Say, line: str, state: RunState) -> None:
    say("squeue", f"echo '{line}'")

    (entry,) = overview.settle([history.load(elsewhere)])

    assert entry.state is state


def test_the_job_that_takes_its_place_forgets_the_other_node(elsewhere: Path) -> None:
    run_owner.forget_other_node(elsewhere)

    assert history.load(elsewhere).state is RunState.INTERRUPTED
