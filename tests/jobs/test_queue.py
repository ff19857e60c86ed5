"""The queue end to end, with a stand-in trainer: added, worked off, stopped, cut off, resumed."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, Result, own_home, variables, write_pictures
from measured_runs import CARD, record
from patience import until

from sdxl_train_cli import gpu, process
from sdxl_train_cli.dataset import checking
from sdxl_train_cli.jobs.store import Queue
from sdxl_train_cli.layout import Home
from sdxl_train_cli.memory import measurements
from sdxl_train_cli.records import history, metrics
from sdxl_train_cli.records.history import RunState

posix = pytest.mark.skipif(process.WINDOWS, reason="sends POSIX signals")


@pytest.fixture
def cli(tmp_path: Path, home: Path) -> Cli:
    """`sdxl-train` with the stand-in installed, and a queue of its own."""
    own = own_home(tmp_path / "home", home)
    return Cli(tmp_path, {**variables(tmp_path), "SDXL_TRAIN_HOME": str(own)})


@pytest.fixture
def queue(cli: Cli) -> Queue:
    """Its queue."""
    return Queue(Path(cli.environ["SDXL_TRAIN_HOME"]) / "queue")


@pytest.fixture
def line(model: Path, pictures: Path) -> list[str]:
    """A short training."""
    return ["lora", "--model", str(model), "--data", str(pictures), "--no-vram-check", "--name", "cat",
            "--steps", "40", "--set", "save_every_n_steps=5"]  # fmt: skip


def states_of(cli: Cli) -> dict[str, str]:
    found: list[dict[str, Any]] = json.loads(cli("queue", "list", "--json").stdout)
    return {job["name"]: job["state"] for job in found}


def has_steps(folder: Path) -> bool:
    """Whether it has made some, so that there is a state."""
    return len(metrics.load(folder / "metrics.jsonl")) > 10


def resumed_at(folder: Path) -> list[int]:
    return [attempt.from_step or 0 for attempt in history.load(folder).record.attempts]


def test_jobs_are_worked_off_in_order_past_a_failure(cli: Cli, line: list[str], tmp_path: Path) -> None:
    lost = write_pictures(tmp_path / "lost")
    preset = tmp_path / "own.yaml"
    preset.write_text("extends: dim32-gc\nlearning_rate: 3e-5\n", encoding="utf-8")
    first = cli("queue", "add", *line, "--name", "one", "--preset", preset)
    assert (first.code, first.stdout.split()) == (0, ["1"]), first.stderr
    assert "sdxl-train queue start" in first.stderr
    cli("queue", "add", *line, "--name", "two", "--data", lost)
    added = cli("queue", "add", *line, "--name", "three", "--json")
    assert json.loads(added.stdout)["job"] == 3
    moved = cli("queue", "move", 3, "first", "--json")
    assert json.loads(moved.stdout) == {"job": 3, "name": "three", "place": 1, "waiting": 3}
    shutil.rmtree(lost)
    preset.write_text("extends: dim32-gc\nlearning_rate: 9e-5\n", encoding="utf-8")

    done = cli("queue", "start")

    assert done.code == 0, done.stderr
    assert states_of(cli) == {"three": "done", "one": "done", "two": "failed"}
    assert [line.split()[1] for line in done.stderr.splitlines() if " started " in line] == ["3", "1", "2"]
    assert "sdxl-train queue log 2" in done.stderr
    assert f"job 1 (one) done: {tmp_path / 'output' / 'one' / 'one.safetensors'}" in done.stderr
    again = cli("queue", "retry", "one")
    assert (again.code, "sdxl-train queue add rerun" in again.stderr) == (2, True)
    retried = cli("queue", "retry", "two", "--json")
    assert json.loads(retried.stdout) == {"retried": [{"job": 2, "name": "two"}]}
    assert "job 2 (two) waits again\n" in retried.stderr
    assert json.loads(cli("queue", "list", "--json").stdout)[2]["cause"] is None
    assert str(lost) in cli("queue", "log", 2).stdout
    kept = history.load(tmp_path / "output" / "one").record.settings["learning_rate"]
    assert str(kept.value) == "3e-05"  # as the preset was when the job was added
    stopped = cli("queue", "stop", 2, "--json")
    assert json.loads(stopped.stdout) == {"job": 2, "name": "two", "state": "stopped"}
    assert stopped.stderr == "job 2 (two) is stopped; to let it wait again: sdxl-train queue retry 2\n"
    refused = cli("queue", "retry", 2, 1)
    assert (refused.code, "job 1 (one) is done" in refused.stderr, states_of(cli)["two"]) == (2, True, "stopped")
    twice = cli("queue", "retry", 2, "two", "--json").stdout
    assert json.loads(twice) == {"retried": [{"job": 2, "name": "two"}]}
    gone = cli("queue", "rm", 1, 2, "one", "--json").stdout
    assert json.loads(gone) == {"removed": [{"job": 1, "name": "one"}, {"job": 2, "name": "two"}]}


def test_what_a_run_refuses_is_refused_at_once(cli: Cli, line: list[str]) -> None:
    refused = cli("queue", "add", *line, "--set", "network_dmi=4")
    misspelled = cli("queue", "add", "lroa")

    assert refused.code == 3
    assert "network_dim" in refused.stderr
    assert (misspelled.code, "sdxl-train queue add lora" in misspelled.stderr) == (2, True)
    assert cli("queue", "list", "--json").stdout.strip() == "[]"


@posix
@pytest.mark.slow
def test_a_job_is_stopped_alone_and_retried_from_its_state(
    cli: Cli, queue: Queue, line: list[str], tmp_path: Path
) -> None:
    cli("queue", "add", *line, "--name", "one", "--steps", "100")
    cli("queue", "add", *line, "--name", "two")
    with cli.start("queue", "start", STANDIN_STEP_SECONDS="0.1") as worker:
        until(lambda: has_steps(tmp_path / "output" / "one"))
        second = cli("queue", "start")
        assert (second.code, cli("queue", "rm", 1).code) == (2, 2)
        assert cli("queue", "stop", 1).stderr == "job 1 (one) stops at the end of its step\n"
        assert worker.end().code == 0
    assert states_of(cli) == {"one": "stopped", "two": "done"}

    cli("queue", "retry", 1)
    with cli.start("queue", "start", STANDIN_STEP_SECONDS="0.001") as again:
        assert again.end().code == 0

    assert states_of(cli)["one"] == "done"
    assert [step % 5 for step in resumed_at(tmp_path / "output" / "one")] == [0]
    assert [path.name for path in (tmp_path / "output").iterdir()] in (["one", "two"], ["two", "one"])
    assert cli("queue", "rm", 1, 2).code == 0
    assert queue.jobs() == []


@posix
@pytest.mark.parametrize("way", ["ctrl-c", pytest.param("queue stop", marks=pytest.mark.slow)])
def test_a_stopped_worker_leaves_a_run_that_the_next_one_resumes(
    cli: Cli, line: list[str], tmp_path: Path, way: str
) -> None:
    cli("queue", "add", *line, "--steps", "100")
    with cli.start("queue", "start", STANDIN_STEP_SECONDS="0.05") as worker:
        until(lambda: has_steps(tmp_path / "output" / "cat"))
        if way == "ctrl-c":
            worker.send(signal.SIGINT)
        else:
            assert cli("queue", "stop").code == 0
        assert worker.end().code == (128 + signal.SIGINT if way == "ctrl-c" else 0)
    assert states_of(cli) == {"cat": "waiting"}
    assert history.load(tmp_path / "output" / "cat").state is RunState.STOPPED

    assert cli("queue", "start").code == 0

    assert states_of(cli) == {"cat": "done"}
    assert [step >= 5 for step in resumed_at(tmp_path / "output" / "cat")] == [True]


@posix
def test_a_closed_terminal_stops_nothing(cli: Cli, line: list[str], tmp_path: Path) -> None:
    cli("queue", "add", *line)
    with cli.start("queue", "start") as worker:
        until(lambda: has_steps(tmp_path / "output" / "cat"))
        worker.send(signal.SIGHUP)
        assert worker.end().code == 0
    assert states_of(cli) == {"cat": "done"}


def test_a_job_needs_what_such_a_run_was_measured_to_take(
    main: Callable[..., Result], home: Path, line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = own_home(tmp_path / "own", home)
    monkeypatch.setenv("SDXL_TRAIN_HOME", str(own))
    monkeypatch.setattr(gpu, "devices", lambda: (CARD,))
    typed = ["queue", "add", *line, "--preset", "dim32-gc", "--no-samples", "--batch-size", "1"]
    assert main(*typed).code == 0
    assert measurements.add(Home(own), record(peak_gib=5.9)) is None
    assert main(*typed).code == 0

    estimated, measured = Queue(own / "queue").jobs()
    assert estimated.need_gib is not None
    assert estimated.need_gib > 6
    assert measured.need_gib == 5.9


def test_a_training_on_several_gpus_is_queued_as_one_job_and_refused_where_they_are_not(
    main: Callable[..., Result], home: Path, line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = own_home(tmp_path / "own", home)
    monkeypatch.setenv("SDXL_TRAIN_HOME", str(own))
    monkeypatch.setattr(gpu, "devices", lambda: tuple(replace(CARD, index=index) for index in range(2)))

    assert main("queue", "add", *line, "--gpus", "2").code == 0
    assert main("queue", "add", *line, "--gpu", "0,1").code == 0
    assert main("queue", "add", *line, "--gpu", "1").code == 0
    monkeypatch.setattr(checking, "check", lambda *_facts: pytest.fail("the pictures were looked at"))
    refused = main("queue", "add", *line, "--gpus", "3")

    assert [(job.gpus, job.gpu_indices) for job in Queue(own / "queue").jobs()] == [(2, ()), (2, (0, 1)), (1, (1,))]
    assert (refused.code, "--gpus 3 needs 3 GPUs" in refused.stderr) == (2, True)
