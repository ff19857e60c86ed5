"""Trainings on a real Slurm of two nodes, with a stand-in trainer: submitted, taken back, cancelled, resumed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, own_home, variables, write_pictures
from patience import until
from real_slurm import Slurm, running

from sdxl_train_cli.cluster import batch, overview
from sdxl_train_cli.cluster.overview import TaskState, TaskView
from sdxl_train_cli.cluster.task_folder import TaskStart
from sdxl_train_cli.records import history, metrics
from sdxl_train_cli.records.history import RunState

STEPS, LONGEST = 60, 5


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A cluster for this module."""
    with running(tmp_path_factory.mktemp("slurm"), f"MaxArraySize={LONGEST}") as cluster:
        yield cluster


@pytest.fixture
def cli(tmp_path: Path, home: Path, slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """`sdxl-train` on a login node, with a home of its own, in a folder that sbatch must quote."""
    folder = tmp_path / "общая папка %x"
    own = own_home(folder / "home", home)
    monkeypatch.setenv("PATH", slurm.path)
    return Cli(folder, {**variables(folder), "SDXL_TRAIN_HOME": str(own), "PATH": slurm.path})


@pytest.fixture
def line(model: Path, pictures: Path) -> list[str]:
    """A training that takes some seconds."""
    return ["lora", "--on", "slurm", "--model", str(model), "--data", str(pictures), "--name", "cat", "--no-vram-check",
            "--steps", str(STEPS), "--set", "save_every_n_steps=5"]  # fmt: skip


def tasks(cli: Cli) -> list[TaskView]:
    return overview.views(Path(cli.environ["SDXL_TRAIN_HOME"]) / "cluster")


def state(cli: Cli) -> TaskState:
    """Of the only task."""
    (view,) = tasks(cli)
    return view.state


def steps_of(run: Path) -> list[int]:
    return [step.step for step in metrics.load(run / "metrics.jsonl")]


def test_a_node_is_asked_what_it_sees_before_settings_are_written(cli: Cli) -> None:
    done = cli("cluster", "init", "--gpus", 0, "--line=--mem=500M")

    assert done.code == 0, done.stderr
    assert "environment: sd-scripts v0.10.1" in done.stderr
    assert "GPU: none was asked for" in done.stderr
    assert cli("cluster", "init", "--time", "02:00:00", "--no-check").code == 0  # keeps what was said before
    assert done.path.read_text(encoding="utf-8").splitlines()[1:] == [
        f'home: "{cli.environ["SDXL_TRAIN_HOME"]}"', 'gpus: "0"', 'time: "02:00:00"', 'lines: ["--mem=500M"]',
    ]  # fmt: skip
    assert not list(Path(cli.environ["SDXL_TRAIN_HOME"], "cluster").iterdir())


def test_slurms_refusal_is_explained(cli: Cli, line: list[str]) -> None:
    none = cli(*line)
    assert (none.code, "sdxl-train cluster init" in none.stderr) == (2, True)
    assert cli("cluster", "init", "--gpus", 0, "--partition", "nowhere", "--no-check").code == 0

    done = cli(*line)

    assert done.code == 2
    assert "the cluster has no such partition" in done.stderr
    assert tasks(cli) == []


def test_a_run_that_slurm_takes_back_goes_on_where_it_was(cli: Cli, line: list[str], slurm: Slurm) -> None:
    assert cli("cluster", "init", "--gpus", 0, "--no-check").code == 0
    shown = cli(*line, "--dry-run")
    assert "#SBATCH --requeue" in shown.stdout
    assert tasks(cli) == []

    submitted = cli(*line, STANDIN_STEP_SECONDS="0.1")
    assert submitted.code == 0, submitted.stderr
    job = submitted.stdout.strip()
    run = cli.folder / "output" / "cat"
    until(lambda: len(steps_of(run)) > 10)
    (view,) = tasks(cli)
    assert (view.job, view.state, view.node in {"n1", "n2"}) == (job, TaskState.RUNNING, True)
    assert history.load(run).state is RunState.RUNNING
    slurm("scontrol", "requeue", job)
    until(lambda: state(cli) is TaskState.PENDING)
    assert f"cat   pending (BeginTime), job {job}  lora" in cli("runs", "list").stdout
    slurm.start_now(job)
    until(lambda: state(cli) is TaskState.DONE)

    entry = history.load(run)
    (again,) = entry.record.attempts
    assert entry.state is RunState.DONE
    assert (again.from_step or 0) >= 10
    assert steps_of(run) == list(range(1, STEPS + 1))
    assert tasks(cli)[0].task.start == TaskStart(starts=2, step=again.from_step or 0, stalls=0)


def test_a_run_whose_time_is_nearly_up_submits_itself_again(cli: Cli, line: list[str], slurm: Slurm) -> None:
    assert cli("cluster", "init", "--gpus", 0, "--no-check").code == 0
    job = cli(*line, STANDIN_STEP_SECONDS="0.1").stdout.strip()
    run = cli.folder / "output" / "cat"
    until(lambda: len(steps_of(run)) > 10)
    slurm("scancel", "--signal=USR1", "--batch", job)  # as --signal does before the time ends
    until(lambda: state(cli) is TaskState.PENDING)
    assert history.load(run).state is RunState.STOPPED

    slurm("scancel", job)
    until(lambda: state(cli) is TaskState.STOPPED)
    retried = cli("cluster", "retry", job)
    assert retried.code == 0, retried.stderr
    until(lambda: state(cli) is TaskState.DONE)

    assert tasks(cli)[0].job == retried.stdout.strip() != job
    assert steps_of(run) == list(range(1, STEPS + 1))


def test_a_run_that_fails_is_not_started_again_by_itself(cli: Cli, line: list[str], slurm: Slurm) -> None:
    assert cli("cluster", "init", "--gpus", 0, "--no-check").code == 0
    job = cli(*line, STANDIN_FAIL="wrong-key").stdout.strip()
    until(lambda: state(cli) is TaskState.FAILED)

    told = cli("cluster", "list")
    assert f"{job}: training failed" in told.stderr
    until(lambda: slurm("squeue", "-h") == "")


def test_a_sweep_is_an_array_whose_points_are_followed_and_cancelled(cli: Cli, line: list[str], slurm: Slurm) -> None:
    assert cli("cluster", "init", "--gpus", 0, "--no-check").code == 0
    swept = ["sweep", *line, "--steps", "10", "--set", "learning_rate=5e-5,1e-4", "--set", "network_dim=4,8"]
    made = cli(*swept, "--at-once", 3, STANDIN_STEP_SECONDS="0.05")
    assert (made.code, made.stdout) == (0, "cat\n"), made.stderr
    until(lambda: {point["state"] for point in _points(cli, "cat")} == {"done"})

    runs = [history.load(Path(point["run"])) for point in _points(cli, "cat")]
    settings = [(run.record.settings["learning_rate"].value, run.record.settings["network_dim"].value) for run in runs]
    assert settings == [(5e-5, 4), (5e-5, 8), (1e-4, 4), (1e-4, 8)]
    assert [run.name for run in runs] == [f"cat-lr{rate}-dim{dim}" for rate in ("5e-5", "1e-4") for dim in (4, 8)]

    assert cli(*swept, "--at-once", 1, STANDIN_STEP_SECONDS="1").stdout == "cat-2\n"
    until(lambda: [point["state"] for point in _points(cli, "cat-2")].count("running") == 1)
    assert {point["waits_for"] for point in _points(cli, "cat-2")} == {None, "JobArrayTaskLimit"}
    assert "cancelled 3 that waited and 1 that ran" in cli("sweep", "stop", "cat-2").stderr
    until(lambda: slurm("squeue", "-h") == "")

    ends = {(point["state"], point["cause"]) for point in _points(cli, "cat-2")}
    assert ends == {("stopped", "the job was cancelled")}
    assert cli("sweep", "rm", "cat-2").code == 0


def _points(cli: Cli, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(cli("sweep", "show", name, "--json").stdout)["points"]
    return found


def test_the_queue_is_handed_over_and_a_run_that_was_cut_off_goes_on_there(
    cli: Cli, line: list[str], slurm: Slurm
) -> None:
    assert cli("cluster", "init", "--gpus", 0, "--no-check").code == 0
    alone = [word for word in line if word not in {"--on", "slurm"}]
    assert cli("queue", "add", *alone, STANDIN_STEP_SECONDS="0.05").stdout == "1\n"
    swept = ["sweep", *alone, "--name", "dog", "--steps", "10", "--set", "learning_rate=5e-5,1e-4"]
    assert cli(*swept).code == 0
    run = cli.folder / "output" / "cat"
    with cli.start("queue", "run", "1", STANDIN_STEP_SECONDS="0.05") as working:
        until(lambda: len(steps_of(run)) > 10)
        working.process.kill()
    until(lambda: history.load(run).state is RunState.INTERRUPTED)
    shown = cli("queue", "start", "--on", "slurm", "--at-once", 2, "--dry-run")
    assert (shown.stdout.count("#SBATCH --array=0-2%2"), tasks(cli)) == (1, [])

    handed = cli("queue", "start", "--on", "slurm", "--at-once", 2, STANDIN_STEP_SECONDS="0.005")

    assert handed.code == 0, handed.stderr
    assert "3 jobs handed over" in handed.stderr
    assert "runs of the sweep dog make caches of their own" in handed.stderr
    assert json.loads(cli("queue", "list", "--json").stdout) == []
    until(lambda: {view.state for view in tasks(cli)} == {TaskState.DONE})
    assert {view.job for view in tasks(cli)} == {f"{handed.stdout.strip()}_{number}" for number in range(3)}
    entry = history.load(run)
    (again,) = entry.record.attempts
    assert ((again.from_step or 0) >= 10, steps_of(run)) == (True, list(range(1, STEPS + 1)))
    assert [point["state"] for point in _points(cli, "dog")] == ["done", "done"]
    first = history.load(Path(_points(cli, "dog")[0]["run"])).record.settings
    assert ("cache_latents_to_disk" in first, first["cache_latents"].value) == (False, True)
    assert slurm("squeue", "-h") == ""


@pytest.mark.usefixtures("slurm")
def test_a_run_is_resumed_and_repeated_on_the_cluster(cli: Cli, line: list[str]) -> None:
    assert cli("cluster", "init", "--gpus", 0, "--no-check").code == 0
    alone = [word for word in line if word not in {"--on", "slurm"}]
    run = cli.folder / "output" / "cat"
    with cli.start(*alone, STANDIN_STEP_SECONDS="0.05") as working:
        until(lambda: len(steps_of(run)) > 10)
        working.process.kill()
    until(lambda: history.load(run).state is RunState.INTERRUPTED)
    before = (run / "run.json").read_bytes()
    shown = cli("runs", "resume", "cat", "--on", "slurm", "--dry-run")
    assert (shown.code, "#SBATCH --requeue" in shown.stdout, tasks(cli)) == (0, True, []), shown.stderr
    assert (run / "run.json").read_bytes() == before

    submitted = cli("runs", "resume", "cat", "--on", "slurm", STANDIN_STEP_SECONDS="0.005")

    assert submitted.code == 0, submitted.stderr
    twice = cli("runs", "resume", "cat", "--on", "slurm")
    assert (twice.code, f"job {submitted.stdout.strip()} of the cluster" in twice.stderr) == (2, True)
    until(lambda: state(cli) is TaskState.DONE)
    assert steps_of(run) == list(range(1, STEPS + 1))
    (attempt,) = history.load(run).record.attempts
    assert attempt.from_step == 10

    longer = cli("runs", "resume", "cat", "--on", "slurm", "--steps", STEPS + 10)
    again = cli("runs", "rerun", "cat", "--on", "slurm", "--steps", "5")
    assert (longer.code, again.code) == (0, 0), longer.stderr + again.stderr
    until(lambda: [view.state for view in tasks(cli)] == [TaskState.DONE] * 3)
    made = steps_of(run)
    assert (made, made[-1] >= STEPS + 10) == (list(range(1, made[-1] + 1)), True)
    assert steps_of(cli.folder / "output" / "cat-2") == list(range(1, 6))


def test_a_sweep_above_the_largest_array_is_several_whose_elements_are_all_carried_out(
    cli: Cli, line: list[str], slurm: Slurm
) -> None:
    """With a cheap command, which prints what a node would be given."""
    assert (
        cli("cluster", "init", "--gpus", 0, "--container", "sh -c 'echo \"$@\"; sleep 0.3' --", "--no-check").code == 0
    )
    made = cli("sweep", *line, "--set", f"seed={','.join(map(str, range(9)))}", "--at-once", 2)
    assert made.code == 0, made.stderr
    assert "2 arrays, as Slurm limits their length here; each starts when the one before has ended" in made.stderr
    arrays = batch.all_in(Path(cli.environ["SDXL_TRAIN_HOME"]) / "cluster")
    most = 0
    while listed := slurm("squeue", "-h", "-r", "-o", "%F %t").splitlines():
        running = [each.split()[0] for each in listed if each.endswith(" R")]
        most = max(most, len(running))
        assert len(set(running)) <= 1
        time.sleep(0.2)

    assert (most, [len(one.tasks()) for one in arrays]) == (2, [LONGEST, 4])
    for one in arrays:
        for task in one.tasks():
            assert task.output.read_text(encoding="utf-8").endswith(f" {one.folder} {task.index}\n")


def test_a_search_is_chosen_by_its_elements_and_one_that_is_taken_back_keeps_its_point(
    cli: Cli, line: list[str], slurm: Slurm, tmp_path: Path
) -> None:
    assert cli("cluster", "init", "--gpus", 0, "--no-check").code == 0
    many = write_pictures(tmp_path / "many", 16)
    searched = ["sweep", *line, "--data", many, "--validate", "--set", "learning_rate=1e-5..1e-3", "--search", 4]
    made = cli(*searched, "--steps", 40, "--at-once", 3, STANDIN_STEP_SECONDS="0.1")
    assert made.code == 0, made.stderr
    until(lambda: any(point["run"] and len(steps_of(Path(point["run"]))) > 10 for point in _points(cli, "cat")))
    (first, *_) = (point for point in _points(cli, "cat") if point["run"] and len(steps_of(Path(point["run"]))) > 10)
    slurm("scontrol", "requeue", first["job"])
    until(lambda: {view.job: view.state for view in tasks(cli)}[first["job"]] is TaskState.PENDING)
    slurm.start_now(first["job"])
    until(lambda: {point["state"] for point in _points(cli, "cat")} == {"done"})

    points = _points(cli, "cat")
    assert len({point["settings"]["learning_rate"] for point in points}) == 4
    assert {Path(point["run"]).name for point in points} == {
        f"cat-lr{one['settings']['learning_rate']}" for one in points
    }
    (again,) = (point for point in points if point["job"] == first["job"])
    assert (again["settings"], again["run"]) == (first["settings"], first["run"])
    made_steps = steps_of(Path(again["run"]))
    assert made_steps == list(range(1, len(made_steps) + 1))
    assert history.load(Path(again["run"])).record.attempts
